"""How work comes in: the command line now, HTTP, uploads and queues later."""
