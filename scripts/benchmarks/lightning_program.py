"""An MLP on MNIST as written with Lightning and Hydra: DataLoaders, a logger, the best checkpoint, a test."""

from itertools import pairwise

import hydra
import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from omegaconf import DictConfig
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset


class Classifier(lightning.LightningModule):
    """Cross-entropy, accuracy and Adam."""

    def __init__(self, widths: list[int], learning_rate: float) -> None:
        """Build the layers."""
        super().__init__()
        layers = [nn.Flatten()]
        for a, b in pairwise([784, *widths]):
            layers += [nn.Linear(a, b), nn.ReLU()]
        self.net, self.learning_rate = nn.Sequential(*layers, nn.Linear(widths[-1], 10)), learning_rate

    def _losses(self, batch, name: str):
        x, y = batch
        logits = self.net(x)
        loss = functional.cross_entropy(logits, y)
        self.log(f"{name}/loss", loss)
        self.log(f"{name}/accuracy", (logits.argmax(1) == y).float().mean(), prog_bar=True)
        return loss

    def training_step(self, batch, index):
        """Return the loss of a batch."""
        del index
        return self._losses(batch, "train")

    def validation_step(self, batch, index):
        """Log a validation batch."""
        del index
        self._losses(batch, "validation")

    def test_step(self, batch, index):
        """Log a test batch."""
        del index
        self._losses(batch, "test")

    def configure_optimizers(self):
        """Return Adam."""
        return torch.optim.Adam(self.parameters(), self.learning_rate)


@hydra.main(version_base=None, config_path=".", config_name="lightning_program")
def main(config: DictConfig) -> None:
    """Train, keep the best checkpoint by validation accuracy, and test it."""
    torch.set_num_threads(config.threads)
    lightning.seed_everything(config.seed)
    found = np.load(config.data)
    x = torch.from_numpy((found["inputs"].reshape(-1, 1, 28, 28).astype(np.float32) / 255 - 0.1307) / 0.3081)
    y = torch.from_numpy(found["targets"].astype(np.int64))
    rows = {name: torch.from_numpy(found[name].astype(np.int64)) for name in ("train", "validation", "test")}
    loaders = {
        name: DataLoader(TensorDataset(x[index], y[index]), config.batch_size, shuffle=name == "train")
        for name, index in rows.items()
    }
    best = ModelCheckpoint(monitor="validation/accuracy", mode="max", save_last=True)
    trainer = lightning.Trainer(
        max_epochs=config.epochs,
        accelerator="auto",
        devices=1,
        logger=CSVLogger("."),
        callbacks=[best],
        log_every_n_steps=10,
    )
    trainer.fit(Classifier(list(config.widths), config.learning_rate), loaders["train"], loaders["validation"])
    trainer.test(dataloaders=loaders["test"], ckpt_path="best", weights_only=False)


if __name__ == "__main__":
    main()
