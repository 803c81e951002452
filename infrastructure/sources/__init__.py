"""Where decisions take their facts from: rules that are pushed at run time, and live signals."""
