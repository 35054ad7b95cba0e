"""The `segmed` command: one file per noun. The only part of SegMed that prints."""
