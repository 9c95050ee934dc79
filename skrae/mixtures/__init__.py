"""The base density: mixtures of Gaussians, fitted, chosen, conditioned."""
