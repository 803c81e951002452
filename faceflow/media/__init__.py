"""Moving pictures, exactly: what goes in comes out with every frame and every timestamp.

`probe` says what a file is, `index` lists the frames that a decoder shows, `transcode` normalises what does not
fit, `plan` cuts the index into segments, `reader` gives upright native frames of a range, `writer` encodes a
part, `join` puts parts and the original audio together, `picture` does the same for still images.
"""
