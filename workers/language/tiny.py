"""A two-layer random Llama with a character tokenizer: the whole loop runs on it in seconds, and nothing is downloaded.

Its text is gibberish, but printable and never empty, with letters and spaces about as frequent as in English. Two
features of the residual stream make it so: no block writes into them, so what the embedding puts there reaches the
output layer, which reads letter frequencies out of the first and "an answer begins here" out of the second.
"""

import math

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

CONTEXT = 512
HIDDEN = 64
SPECIAL = ("<|pad|>", "<|im_start|>", "<|im_end|>")
CHARACTERS = "\n" + "".join(chr(code) for code in range(32, 127))
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# Per cent of English text, after Robert Lewand, Cryptological Mathematics (2000), p. 36.
FREQUENT = (12.7, 9.1, 8.2, 7.5, 7.0, 6.7, 6.3, 6.1, 6.0, 4.3, 4.0, 2.8, 2.8)
SELDOM = (2.4, 2.4, 2.2, 2.0, 2.0, 1.9, 1.5, 1.0, 0.8, 0.15, 0.15, 0.1, 0.07)
LETTERS = dict(zip("etaoinshrdlcumwfgypbvkjxqz", (*FREQUENT, *SELDOM), strict=True))
OTHERS = {" ": 18.0, ".": 1.5, ",": 1.0, "!": 0.3, "?": 0.3, "<|im_end|>": 1.6}
RARE = 0.02
NEVER = -40.0


def tokenizer() -> PreTrainedTokenizerFast:
    """Return the tokenizer: three special tokens and one token per printable ASCII character; others become `?`."""
    vocabulary = {token: index for index, token in enumerate((*SPECIAL, *CHARACTERS))}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    core.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=core,
        pad_token=SPECIAL[0],
        bos_token=SPECIAL[1],
        eos_token=SPECIAL[2],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def model() -> LlamaForCausalLM:
    """Return the model in float32, the same weights every time."""
    vocabulary = [*SPECIAL, *CHARACTERS]
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=HIDDEN,
        intermediate_size=2 * HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=False,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    network = LlamaForCausalLM(config)
    generator = torch.Generator().manual_seed(20260101)
    with torch.no_grad():
        for name, weight in sorted(network.named_parameters()):
            if weight.dim() == 2:
                weight.copy_(torch.randn(weight.shape, generator=generator) / math.sqrt(weight.shape[1]))
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weight[:2] = 0.0
        _shape_text(network, vocabulary)
    network.generation_config = GenerationConfig(bos_token_id=1, eos_token_id=2)  # type: ignore[no-untyped-call]
    return network


def _shape_text(network: LlamaForCausalLM, vocabulary: list[str]) -> None:
    """Write the two features into the embedding, and what the output layer reads out of them."""
    embedding, output = network.model.embed_tokens.weight, network.lm_head.weight
    embedding.mul_(0.5)
    embedding[:, 0] = 4.0
    embedding[:, 1] = 0.0
    embedding[vocabulary.index("\n"), 1] = 4.0
    output.mul_(0.5)
    for index, token in enumerate(vocabulary):
        share = LETTERS.get(token, OTHERS.get(token, RARE))
        # After the last norm the first feature is about 2.4 whatever the text, hence the division.
        output[index, 0] = (NEVER if token in SPECIAL[:2] else math.log(share)) / 2.4
        output[index, 1] = NEVER if token in ("\n", " ", *SPECIAL) else 0.0
