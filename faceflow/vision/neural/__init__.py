"""The published networks as engines: swappers, restorers and maskers over the runtime.

alignment    five points -> the crop that a network was trained on
pixels       uint8 BGR crops <-> float32 RGB tensors, pixel boost
embedding    portraits -> what a swapper takes as its source
swapper      what all swappers share; `swappers` holds one small class a contract
restorer     restorers of faces; they look further than the swapped crop
maskers      occlusion and region masks; `box` the feathered frame
loading      from a name in the catalogue to a verified file and its network
"""
