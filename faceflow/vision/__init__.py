"""Faces: find them, follow them, swap them, restore them, put them back.

An analyser turns a picture into faces, a swapper turns aligned crops and a source identity into swapped crops and
masks, a restorer improves crops, `faces_file` carries them between stages, `compose` pastes them into native frames.
"""
