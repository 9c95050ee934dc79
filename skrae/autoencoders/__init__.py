"""Networks, the terms of their criteria, and the loop that trains them.

activations   hidden units, their derivatives and integrals
layers        the encoder and its bounded head, value and gradient in one sweep
one_layer     auto-encoders of one hidden layer in closed form
radial        one hidden layer of radial units, its criterion a quadratic of the weights
objectives    the terms of training criteria, as pure functions
training      the loop: optimiser, running average, validation, early stopping
callbacks     progress, for scikit-learn's callbacks and for verbose
decoders/    from a network to a reconstruction and a log tilt
transformers/ the auto-encoder family as one transformer
"""
