"""Trains a SiMaN network on small images, and exports and verifies its 1-bit form."""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Also from a checkout that is not installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from siman_larq.training.cli import cifar

if __name__ == "__main__":
    cifar()
