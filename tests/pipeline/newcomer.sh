#!/usr/bin/env bash
# A newcomer's first hours with the commands of the README and the site. Run it in a fresh clone of this project:
#   newcomer.sh PICTURES MORE SHARE ELSEWHERE
# PICTURES and MORE hold class folders, MORE those added later; SHARE is a folder that a colleague can reach, who works in
# ELSEWHERE.
set -euo pipefail
pictures=$1 more=$2 share=$3 elsewhere=$4

# Our own pictures, in a folder versioned by DVC.
cp -r "$pictures" data/pictures
source .venv/bin/activate
dvc add -q data/pictures
make inspect FOLDER=data/pictures WRITE=1
make run
git add -A && git commit -qm "Run on our pictures"

# More pictures, and a wrong label corrected.
cp -r "$more"/. data/pictures
mv "data/pictures/digit 1/wrong.png" "data/pictures/digit 0"
make run
python -m darkroom datadiff HEAD --list 3 --csv "$share/changes.csv"
dvc data status --granular --json > "$share/status.json"
dvc metrics diff HEAD | grep -E '^Path|accuracy |log_loss '
git add -A && git commit -qm "Run on more pictures"

# Another head as an experiment: is it better?
dvc exp run -q -n trees -S train.head.type=forest
make experiments
python -m darkroom compare main trees
git restore . && dvc checkout -q

# Share everything with a colleague.
git clone -q --bare . "$share/darkroom.git" && git remote set-url origin "$share/darkroom.git"
dvc remote add -q -d team "$share/storage"
git add -A && git commit -qm "A place to share"
dvc push && git push -q
git clone -q "$share/darkroom.git" "$elsewhere" && cd "$elsewhere"
dvc pull
dvc repro
