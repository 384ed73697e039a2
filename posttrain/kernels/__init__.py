"""All compiled C, what the processor offers, and which matrix product is used.

Every kernel has a twin that PyTorch computes, equal up to rounding; it is what runs without a C compiler, on
a GPU, or under POSTTRAIN_KERNELS=off. The wrappers here only call C. The twins stand where the algebra is:

    kernel                                    twin
    tiles.c          tiles.py                 core/logprobs.py
    layers.c         layers.py                transformers' own modules; models/fast_layers.py chooses
    decode.c         decode.py                engines/slots.py, llama.py and choose.py
    packed_matmul.c  decode.py                engines/packed.py, as oneDNN or torch.nn.functional.linear
    (oneDNN)         matmul.py                torch.nn.functional.linear
"""
