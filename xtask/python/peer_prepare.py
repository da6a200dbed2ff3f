"""Makes one step of a case, `peers/making.py` says which there are: run by `cargo xtask bench-peers`.

What is made goes to FOLDER/STEP under that name only when it is complete, so an interrupted run leaves nothing that
looks finished.
"""

import shutil

from peers import case as cases
from peers import making


def main():
    parser = cases.arguments(__doc__)
    parser.add_argument("step", choices=making.STEPS)
    options = parser.parse_args()
    cases.quiet(options.threads)
    case = cases.Case(options)
    unfinished = case.folder / f"{options.step}.tmp"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    making.STEPS[options.step](case, unfinished)
    unfinished.rename(case.folder / options.step)


if __name__ == "__main__":
    main()
