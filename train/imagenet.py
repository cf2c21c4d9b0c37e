"""Trains a SiMaN network on large images, and exports and verifies its 1-bit form."""

import sys
from pathlib import Path

# Also from a checkout that is not installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from siman_larq_cli import train_imagenet

if __name__ == "__main__":
    train_imagenet()
