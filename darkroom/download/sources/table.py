"""Source `table`: pictures that a CSV, TSV, JSON Lines or Parquet table lists with their labels."""

from pathlib import Path

from darkroom.core.errors import UserError
from darkroom.download.local import local_path, origin
from darkroom.download.params import Params
from darkroom.download.sources.base import Source
from darkroom.download.tables.rows import is_table
from darkroom.download.tables.source import table_source
from darkroom.download.tree import Tree, read_tree


def read(params: Params, scratch: Path) -> Source:
    """Pictures of the table `download.path`, or of all tables in that folder or archive.

    Raises:
        UserError: there is no table with pictures and labels, or its pictures are where DVC does not look.
    """
    path = local_path(params, scratch)
    if path.is_dir():
        tree = read_tree(path)
        tables = [file for file in tree.all_files() if is_table(file)]
    elif path.is_file() and is_table(path):
        tree, tables = Tree(path.parent, [path], []), [path]
    else:
        raise UserError(f"download.path {origin(params)} is not a table (.csv, .tsv, .jsonl, .parquet) and holds none.")
    if not tables:
        raise UserError(f"download.path {origin(params)} holds no table (.csv, .tsv, .jsonl or .parquet).")
    return table_source(tables, tree, params)
