"""Fetches published model files into the models folder: verified, whole or not at all.

`sources` opens an address at an offset; `http_source`, `bucket_source` and `folder_source` are the kinds of address.
`download` fetches one file under its lock and goes on where a killed download stopped. `pull` fetches what a list of
models needs, side by side. `importing` takes files that somebody brought by hand. What is in the folder is verified by
`faceflow.vision.model_cache`, which knows no network.
"""
