"""Published networks through ONNX Runtime: which provider runs them, how a file is opened, and one session a process.

    settings ─ providers.require_provider ──▶ it is there, or an error that says how to get it
    file ──── graph_file.OnnxFile ──────────▶ what the network wants; the same graph for any batch size
    both ──── networks.open_network ────────▶ Network: arrays in, arrays out, from any thread

Nothing here knows a face. Pixels, templates and embeddings are the business of `faceflow.vision.neural`.
"""
