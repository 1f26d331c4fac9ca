"""Loads published tokenizers, checks them against the text encoder and prepares the package's `tokenizer.json`."""

import dataclasses
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from .user_error import UserError

MAX_TOKENS = 512
"""The largest length of a query that the engine accepts."""

SAMPLE_TEXT = "a dog barking"


@dataclasses.dataclass(frozen=True)
class TokenizerFamily:
    """A text encoder's requirements for its tokenizer."""

    published_as: str
    model: type
    """Model class of the tokenizers library."""
    files: tuple
    """Files of the vocabulary, where there is no tokenizer.json."""
    special: dict
    """Ids of the special tokens by name."""
    template: str
    """Special tokens around a text ($A), in the notation of the tokenizers library."""
    padding: int | None
    """Token id after which positions begin; None where they begin at 0."""

    def max_tokens(self, positions):
        """The number of tokens of the longest text for an encoder with this number of position vectors."""
        return min(MAX_TOKENS, positions if self.padding is None else positions - self.padding - 1)


ROBERTA = TokenizerFamily(
    published_as="roberta-base",
    model=models.BPE,
    files=("vocab.json", "merges.txt"),
    special={"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3},
    template="<s> $A </s>",
    padding=1,
)

BERT = TokenizerFamily(
    published_as="bert-mini",
    model=models.WordPiece,
    files=("vocab.txt",),
    special={"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102},
    # The published code adds no token after the text.
    template="[CLS] $A",
    padding=None,
)


def load(folder, family, words, positions):
    """Loads the tokenizer in `folder` for an encoder with this number of words and positions.

    Texts get the special tokens of the encoder's training, are cut at its positions, and are never padded.
    """
    folder = Path(folder)
    tokenizer = _from_file(folder / "tokenizer.json") if (folder / "tokenizer.json").is_file() else None
    if tokenizer is None:
        tokenizer = _from_vocabulary(folder, family)
    _check(folder, tokenizer, family, words)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=family.template,
        special_tokens=[(token, number) for token, number in family.special.items() if token in family.template],
    )
    tokenizer.no_padding()
    tokenizer.enable_truncation(family.max_tokens(positions))
    ids = tokenizer.encode(SAMPLE_TEXT).ids
    unknown = family.special[_unknown(family)]
    if unknown in ids or len(ids) <= len(family.template.split()) - 1:
        raise UserError(
            folder,
            f"the tokenizer does not know the words {SAMPLE_TEXT!r}",
            f"Use the files of {family.published_as}",
        )
    return tokenizer


def _unknown(family):
    return next(token for token in family.special if "unk" in token.lower())


def _from_file(path):
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # The library raises no more specific type.
        raise UserError(path, f"not a tokenizer ({error})", "Download it again") from error


def _from_vocabulary(folder, family):
    paths = [folder / name for name in family.files]
    if not all(path.is_file() for path in paths):
        raise UserError(
            folder,
            f"no tokenizer in the folder; expected tokenizer.json, or {' and '.join(family.files)}",
            f"Put the tokenizer files of {family.published_as} there",
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
    except Exception as error:  # See above.
        raise UserError(folder, f"unreadable vocabulary ({error})", "Download it again") from error
    # Tokens that are marked as special are found before a text is split.
    tokenizer.add_special_tokens([token for token in family.special if tokenizer.token_to_id(token) is not None])
    return tokenizer


def _check(folder, tokenizer, family, words):
    remedy = f"Use the files of {family.published_as}"
    if not isinstance(tokenizer.model, family.model):
        kinds = f"{type(tokenizer.model).__name__}, expected {family.model.__name__}"
        raise UserError(folder, f"the tokenizer does not fit: its kind is {kinds}", remedy)
    vocabulary = tokenizer.get_vocab()
    if len(vocabulary) != words or max(vocabulary.values()) != words - 1:
        sizes = f"it has {len(vocabulary)} tokens, expected {words}"
        raise UserError(folder, f"the tokenizer does not fit: {sizes}", remedy)
    for token, number in family.special.items():
        if vocabulary.get(token) != number:
            raise UserError(
                folder,
                f"the tokenizer does not fit: `{token}` has the id {vocabulary.get(token)}, expected {number}",
                remedy,
            )
