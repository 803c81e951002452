"""The published networks as engines: analysers, swappers, restorers and maskers over the runtime.

alignment    five points -> the crop that a network was trained on
pixels       uint8 BGR crops <-> float32 RGB tensors, pixel boost
embedding    portraits -> what a swapper takes as its source
swapper      what all swappers share; `swappers` holds one small class a contract
restorer     restorers of faces; they look further than the swapped crop
maskers      occlusion and region masks; `box` the feathered frame
network_analyser  a detector (`detector`, with a small class a contract in `detectors`) and a landmarker (`landmarkers`)
             as an analyser, and its tracker; `insightface_session` lends InsightFace's classes our sessions
recogniser, genderage  loaded only where a job must tell people apart, or asks for gender and age
loading      from a name in the catalogue to a verified file and its network
"""
