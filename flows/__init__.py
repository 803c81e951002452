"""In what order the steps run: flows that orchestrate and never touch a picture themselves."""
