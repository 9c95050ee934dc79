"""What an auto-encoder is: the maps from rows to codes and back.

linear       the linear path: principal axes, or the best linear denoiser of that rank
network      encoder and decoder on top of the linear path, and the code's slopes
fitted       what a fitted auto-encoder answers, in the units of the data
soundness    whether a stored auto-encoder is one that a fit may give
"""
