"""Tokenizers: from the files that a person has to the package's `tokenizer.json`, checked against the text encoder."""

import dataclasses
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from .fault import Fault

MOST_TOKENS = 512
"""The engine cuts no query later than this."""

SAMPLE = "a dog barking"


@dataclasses.dataclass(frozen=True)
class Family:
    """What a text encoder expects of its tokenizer."""

    published_as: str
    model: type
    """Of the tokenizers library."""
    files: tuple
    """The vocabulary's files, where there is no tokenizer.json."""
    special: dict
    """Ids of the tokens that the encoder was trained with."""
    frame: str
    """What is put around a text, in the notation of the tokenizers library."""
    padding: int | None
    """The id after which positions begin; None where they begin at 0."""

    def most_tokens(self, positions):
        """Tokens of the longest text for an encoder with so many position vectors."""
        return min(MOST_TOKENS, positions if self.padding is None else positions - self.padding - 1)


ROBERTA = Family(
    published_as="roberta-base",
    model=models.BPE,
    files=("vocab.json", "merges.txt"),
    special={"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3},
    frame="<s> $A </s>",
    padding=1,
)

BERT = Family(
    published_as="bert-mini",
    model=models.WordPiece,
    files=("vocab.txt",),
    special={"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102},
    # The reference puts nothing behind the text.
    frame="[CLS] $A",
    padding=None,
)


def read(folder, family, words, positions):
    """The tokenizer in `folder`, made ready for an encoder that knows so many words and positions.

    Texts are framed as the encoder's training framed them, cut at its positions, and never padded.
    """
    folder = Path(folder)
    tokenizer = _from_file(folder / "tokenizer.json") if (folder / "tokenizer.json").is_file() else None
    if tokenizer is None:
        tokenizer = _from_vocabulary(folder, family)
    _check(folder, tokenizer, family, words)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=family.frame,
        special_tokens=[(token, number) for token, number in family.special.items() if token in family.frame],
    )
    tokenizer.no_padding()
    tokenizer.enable_truncation(family.most_tokens(positions))
    ids = tokenizer.encode(SAMPLE).ids
    unknown = family.special[_unknown(family)]
    if unknown in ids or len(ids) <= len(family.frame.split()) - 1:
        raise Fault(
            folder, f"the tokenizer does not know the words {SAMPLE!r}", f"Take the files of {family.published_as}"
        )
    return tokenizer


def _unknown(family):
    return next(token for token in family.special if "unk" in token.lower())


def _from_file(path):
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # The library raises nothing more precise.
        raise Fault(path, f"is no tokenizer ({error})", "Download it again") from error


def _from_vocabulary(folder, family):
    paths = [folder / name for name in family.files]
    if not all(path.is_file() for path in paths):
        raise Fault(
            folder,
            f"holds neither tokenizer.json nor {' and '.join(family.files)}",
            f"Put the tokenizer's files of {family.published_as} there",
        )
    try:
        if family.model is models.BPE:
            tokenizer = Tokenizer(models.BPE.from_file(*map(str, paths)))
            tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
            tokenizer.decoder = decoders.ByteLevel()
        else:
            tokenizer = Tokenizer(models.WordPiece.from_file(*map(str, paths), unk_token=_unknown(family)))
            tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
            tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
            tokenizer.decoder = decoders.WordPiece()
    except Exception as error:  # As above.
        raise Fault(folder, f"holds a vocabulary that cannot be read ({error})", "Download it again") from error
    # A token that is marked as special is found in a text before anything is split.
    tokenizer.add_special_tokens([token for token in family.special if tokenizer.token_to_id(token) is not None])
    return tokenizer


def _check(folder, tokenizer, family, words):
    remedy = f"Take the files of {family.published_as}"
    if not isinstance(tokenizer.model, family.model):
        kinds = f"{type(tokenizer.model).__name__}, not {family.model.__name__}"
        raise Fault(folder, f"the tokenizer does not fit: it is of the kind {kinds}", remedy)
    vocabulary = tokenizer.get_vocab()
    if len(vocabulary) != words or max(vocabulary.values()) != words - 1:
        sizes = f"it has {len(vocabulary)} tokens, the text encoder {words}"
        raise Fault(folder, f"the tokenizer does not fit: {sizes}", remedy)
    for token, number in family.special.items():
        if vocabulary.get(token) != number:
            raise Fault(
                folder,
                f"the tokenizer does not fit: `{token}` has the number {vocabulary.get(token)}, not {number}",
                remedy,
            )
