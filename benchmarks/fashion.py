"""A small ResNet on all of Fashion-MNIST: accuracy on its 10,000 test pictures after five epochs.

    python benchmarks/fashion.py [FOLDER]    # of the four idx files; by default where Debian's package puts them

A convolution and three stages of one residual block, 32, 64 and 128 channels, batch norm after each convolution; SGD
with momentum 0.9, batches of 128, the rate from 0.1 to 0 along a cosine; pictures are mirrored. Shifts by a pixel as
well kept it from learning the pictures to train on in five epochs: 92.6 % of them were right, and 91.8 % of the others;
without shifts 93.9 and 92.4 %.
"""

import argparse

from numconv import data, nn, optim, random, train
from numconv.data import fashion_mnist


class Block(nn.Module):
    """Two convolutions and what went in."""

    def __init__(self, before, after, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after)
        self.conv2, self.bn2 = nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after)
        self.beside = nn.Conv2d(before, after, 1, stride, bias=False) if stride > 1 else nn.Identity()

    def forward(self, x):
        inside = self.bn1(self.conv1(x), activation="relu")
        return self.bn2(self.conv2(inside), activation="relu", residual=self.beside(x))


def network():
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
        Block(32, 32, 1), Block(32, 64, 2), Block(64, 128, 2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10),
    )  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--checkpoint", help="where to keep the run after each epoch")
    options = parser.parse_args()
    folder = [options.folder] if options.folder else []
    (X, y), test = fashion_mnist(True, *folder), fashion_mnist(False, *folder)
    random.seed(0)
    model = network()
    optimizer = optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, options.epochs)
    history = train.fit(
        model, X, y, epochs=options.epochs, batch_size=128, optimizer=optimizer, scheduler=schedule, validation=test,
        transform=data.RandomFlip(), workers=1, checkpoint=options.checkpoint, progress=True,
    )  # fmt: skip
    print(f"{history[-1]['validation_accuracy']:.2%} of {len(test[1])} test pictures right")


if __name__ == "__main__":
    main()
