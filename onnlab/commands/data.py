"""``onnlab data``: the data sets, and where they are kept."""

import argparse

from onnlab.data import data_folder, fetch
from onnlab.data.cache import FOLDER, MADE, SHIPPED, local_path
from onnlab.data.carvana import CREDIT as CARVANA
from onnlab.data.scenes import CREDIT as SCENES
from onnlab.data.sources import SOURCES


def add_data(command: argparse.ArgumentParser) -> None:
    """Give ``data`` its actions."""
    actions = command.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="show the data sets, and which are on this computer")
    listing.set_defaults(run=list_data)
    fetching = actions.add_parser("fetch", help="download a data set, once, and print its file")
    names = (SHIPPED, *SOURCES)
    fetching.add_argument("name", choices=names, metavar="NAME", help=" | ".join(names))
    fetching.set_defaults(run=lambda options: print(fetch(options.name)), resumes=lambda options: True)
    path = actions.add_parser("path", help="print the folder of the data sets (ONNLAB_DATA, or the default)")
    path.set_defaults(run=lambda options: print(data_folder()))


def list_data(options: argparse.Namespace) -> None:
    """Print a line for each data set: name, size, where it is."""
    rows = [
        (SHIPPED, 11_000, "1, 28, 28", "in the package", f"Part of {SOURCES['mnist'].credit}"),
        (MADE, 1_500, "1, 64, 64", "made on the spot", SCENES),
    ]
    for name, source in SOURCES.items():
        size = "" if source.megabytes is None else f" ({source.megabytes:.0f} MB)"
        here = "yes" if local_path(name).is_file() else f"no{size}"
        rows.append((name, source.size, ", ".join(map(str, source.shape)), here, source.credit))
    yours = "yes" if (data_folder() / FOLDER).is_dir() else "bring your own"
    rows.append((FOLDER, 5_088, "3, any size", yours, CARVANA))
    print(f"{'name':15}{'images':>8}  {'channels, ny, nx':18}{'here':18}credit")
    for name, images, shape, here, credit in rows:
        print(f"{name:15}{images:8}  {shape:18}{here:18}{credit}")
