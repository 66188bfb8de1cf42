"""What people gave, whatever program they used: answers of all files of a config."""

from collections.abc import Iterator
from pathlib import Path

from jaxlm.corpus.formats.unpack import bare
from jaxlm.corpus.labels import argilla, label_studio
from jaxlm.corpus.labels.config import ArgillaFile, ExamplesFile, FileConfig, LabelConfig, LabelStudioFile
from jaxlm.corpus.labels.people import Answer, identity, known, records, text_of
from jaxlm.errors import UserError


def answers(cfg: LabelConfig) -> Iterator[Answer]:
    """Of every file of `cfg.votes`, in order."""
    for file in cfg.votes:
        yield from _of_file(file, cfg.classes)


def _of_file(file: FileConfig, classes: tuple[str, ...]) -> Iterator[Answer]:
    match file:
        case LabelStudioFile():
            return label_studio.answers(file, classes)
        case ArgillaFile():
            return argilla.answers(file, classes)
        case ExamplesFile():
            return _of_examples(file, classes)


def _of_examples(file: ExamplesFile, classes: tuple[str, ...]) -> Iterator[Answer]:
    path = Path(file.path).expanduser()
    for where, record in records(path):
        text = text_of(record, file.text_field, where)
        label = record.get(file.label_field)
        who = bare(path.name).rsplit(".", 1)[0] if file.annotator_field is None else record.get(file.annotator_field)
        if who is None:
            raise UserError(f"{where}: no {file.annotator_field!r}, which is to say who voted: mend or remove it")
        label = None if label is None else known(label, classes, where)
        yield Answer(identity(record, text), text, f"{file.prefix}{who}", label, where)
