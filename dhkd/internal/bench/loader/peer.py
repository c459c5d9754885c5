"""Times epochs of torchvision's loader: peer.py FOLDER WORKERS BATCH.

It says its versions first, then, after each line of the input, an epoch's images and seconds.
"""
import json
import os
import sys
import time

import PIL
import torch
import torchvision
from PIL import features
from torchvision import transforms

folder, workers, batch = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(1)
view = transforms.Compose([transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), transforms.PILToTensor()])
images = torchvision.datasets.ImageFolder(os.path.join(folder, "train"), view)
loader = torch.utils.data.DataLoader(images, batch, shuffle=True, num_workers=workers, persistent_workers=True)
print(json.dumps({"PyTorch": torch.__version__, "torchvision": torchvision.__version__, "Pillow": PIL.__version__,
                  "Pillow's libjpeg-turbo": features.version("libjpeg_turbo"), "Python": sys.version.split()[0]}), flush=True)
for _ in sys.stdin:
    start, n = time.perf_counter(), 0
    for pixels, _ in loader:
        n += len(pixels)
    print(json.dumps({"images": n, "seconds": time.perf_counter() - start}), flush=True)
