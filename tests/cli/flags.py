"""The flags of every verb. A new one is a promise to users: add it here on purpose."""

# The flags of every verb. A new one is a promise to users: add it here on purpose.
FLAGS = {
    "train autoencoder": "data --out --from --image-size --heldout --label-column --set "
    "--resume --workers --address --dry-run --memory",
    "train generator": "recipe --store --out --from --weights --only --set --resume --workers "
    "--address --dry-run --memory",
    "tokenize": "data --tokenizer --out --engine --views --heldout --label-column --set "
    "--resume --extend --part --address --trust --break-lock --max-errors --dry-run",
    "import-weights": "file --from --out --tokenizer",
    "evaluate reconstruction": "run --data --out --extractor --weights --vgg -n --heldout "
    "--workers --address --trust --set",
    "evaluate generation": "run --data --extractor --weights -n --seed --real "
    "--generator-weights --batch-size --compile --out "
    "--set-data --set --sweep --workers --address",
    "evaluate likelihood": "run --store --split -n --weights --out",
    "pack": "run --out --tokenizer --checkpoint --licence",
    "export": "store --out --format",
    "merge": "stores --out --overlap",
    "subset": "store --out --class --split --key --keys --error-below --error-above --stage",
    "inspect": "store --row --key --png --stats-png --html --rows --json --stats --duplicates "
    "--stages --segments --originals",
    "view": "store --against --originals --port",
    "verify": "store",
    "init": "data --image-size --tokenizer --views --heldout --label-column",
    "recipe": "path --set",
    "doctor": "--recipe --path --json",
    "studio": "run --store --tokenizer --weights --device --host --port --open --trust",
    "sample": "run --label -n --seed --weights --checkpoint --yes --png --tile --folder --npz "
    "--stages --resume --structure --reference --keep --mask --tokenizer --cfg-scale "
    "--structure-cfg-scale --top-p --top-k --temperature --steps --device --batch-size --compile "
    "--workers --address --trust --set",
}
