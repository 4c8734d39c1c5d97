"""`python -m wmt_transformer`, where the `wmt-transformer` command is not on the path."""

from wmt_transformer.cli import main

main()
