#!/usr/bin/env bash
# A newcomer's afternoon with the documented commands. Run it in a fresh clone of this project:
#   newcomer.sh PICTURES MORE SHARE ELSEWHERE
# PICTURES and MORE hold class folders, MORE those added later; SHARE is a folder that a colleague can reach, who works in
# ELSEWHERE.
set -euo pipefail
pictures=$1 more=$2 share=$3 elsewhere=$4

# Our own pictures, in a folder versioned by DVC.
cp -r "$pictures" data/pictures
source .venv/bin/activate
dvc add -q data/pictures
sed -i -e 's/^  source: tfds /  source: folder /' -e 's|^  path: data/incoming |  path: data/pictures |' \
  -e 's/^  limit_per_class: 2400 /  limit_per_class: null /' -e 's/^  near_duplicates: 0.95 /  near_duplicates: 0.9 /' \
  -e 's/^  image_size: \[48, 48\] /  image_size: [96, 96] /' -e 's/^  layers: \[block3_pool\] /  layers: [block5_pool] /' \
  -e '/^extract:/,/^train:/s/^  pooling: flatten /  pooling: avg /' -e 's/^    type: dense /    type: rbf_svm /' \
  -e 's/^  formats: \[saved_model, onnx\] /  formats: [onnx] /' params.yaml
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
