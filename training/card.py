"""The table against JPEG 2000 and the card of a shipped model: python training/card.py MODEL_DIR
IMAGE... (of val/)"""

from __future__ import annotations

import sys
from pathlib import Path

from isoq.network.model import Model, update_info
from isoq.train.card import write_card
from isoq.train.data import read_planes
from isoq.train.finish import validation_table

if len(sys.argv) < 3:
    sys.exit("training/card.py: give the folder of a model and images of val/")
folder, images = Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]]
planes = read_planes(images, 1, 192)
update_info(folder, validation=validation_table(Model(folder), planes, len(planes)))
write_card(folder)
