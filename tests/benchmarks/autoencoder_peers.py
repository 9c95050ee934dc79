"""What the auto-encoders stand beside, each with `transform` and `inverse_transform`."""

import logging
import os
import tempfile
import warnings
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import numpy as np
from sklearn.decomposition import PCA, KernelPCA
from sklearn.neural_network import MLPRegressor

HIDDEN = 256, 128


class Regression:
    """scikit-learn's network trained on X -> X, its narrow layer the code."""

    def __init__(self, n_components, seed):
        sizes = (*HIDDEN, n_components, *HIDDEN[::-1])
        self.network = MLPRegressor(
            hidden_layer_sizes=sizes,
            activation="tanh",
            early_stopping=True,
            max_iter=500,
            random_state=seed,
        )
        self.n_layers = len(HIDDEN) + 1

    def fit(self, X):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.network.fit(X, X)
        return self

    def transform(self, X):
        for weight, bias in self._layers()[: self.n_layers]:
            X = np.tanh(X @ weight + bias)
        return X

    def inverse_transform(self, X):
        *hidden, (weight, bias) = self._layers()[self.n_layers :]
        for own_weight, own_bias in hidden:
            X = np.tanh(X @ own_weight + own_bias)
        return X @ weight + bias

    def _layers(self):
        return list(zip(self.network.coefs_, self.network.intercepts_, strict=True))


class Pythae:
    """The auto-encoder of the package pythae, in its default form, for 100 epochs."""

    def __init__(self, n_components, seed):
        self.n_components, self.seed = n_components, seed

    def fit(self, X):
        import torch
        from pythae.models import AE, AEConfig
        from pythae.trainers import BaseTrainer, BaseTrainerConfig

        torch.manual_seed(self.seed)
        rows = X.astype(np.float32)
        held_out = np.random.RandomState(self.seed).permutation(len(rows))[: len(rows) // 10]
        model = AE(AEConfig(input_dim=(1, X.shape[1]), latent_dim=self.n_components))
        with tempfile.TemporaryDirectory() as folder, _silence():
            settings = BaseTrainerConfig(
                output_dir=folder,
                num_epochs=100,
                learning_rate=1e-3,
                per_device_train_batch_size=64,
                per_device_eval_batch_size=64,
                no_cuda=True,
            )
            trainer = BaseTrainer(
                model,
                _Rows(np.delete(rows, held_out, axis=0)),
                _Rows(rows[held_out]),
                training_config=settings,
            )
            trainer.train()
        self.model = model.eval()
        return self

    def transform(self, X):
        import torch

        with torch.no_grad():
            return self.model.encoder(torch.tensor(X, dtype=torch.float32)).embedding.numpy()

    def inverse_transform(self, X):
        import torch

        with torch.no_grad():
            found = self.model.decoder(torch.tensor(X, dtype=torch.float32)).reconstruction
        return found.reshape(len(X), -1).numpy()


@contextmanager
def _silence():
    """Nothing printed, whatever the package tells of its progress."""
    logging.disable(logging.CRITICAL)
    try:
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
            yield
    finally:
        logging.disable(logging.NOTSET)


class _Rows:
    """Rows as pythae asks for them."""

    def __init__(self, X):
        self.X = X

    def __len__(self):
        return len(self.X)

    def __getitem__(self, index):
        import torch
        from pythae.data.datasets import DatasetOutput

        return DatasetOutput(data=torch.from_numpy(self.X[index])[None])


def peer(name, n_components, seed):
    """A peer, to be fitted."""
    if name == "PCA":
        return PCA(n_components)
    if name == "KernelPCA":
        return KernelPCA(n_components, kernel="rbf", fit_inverse_transform=True, alpha=0.01)
    return {"MLPRegressor": Regression, "pythae": Pythae}[name](n_components, seed)
