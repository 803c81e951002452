"""Faces: find them, follow them, swap them, restore them, put them back.

An analyser turns a picture into faces, a swapper turns aligned crops and a source identity into swapped crops and
masks, a restorer improves crops, `faces_file` carries them between stages, `compose` pastes them into native frames.
"""

import cv2

# Faces are small pictures: OpenCV's worker threads would wait, spinning, for longer than they work (a quarter of the
# CPU time of a swap). Two segments side by side keep two cores busy instead.
cv2.setNumThreads(1)
