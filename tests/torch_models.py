"""Small real models of random weights for tests, in folders and files as their libraries write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.helpers import noise
from transforms.models.torch_runtime import quiet

LABELS = ("cat", "dog", "red")
SIDE = 64


def colored(seed: int, height: int = 90, width: int = 160) -> npt.NDArray[np.uint8]:
    """Return a textured image that resembles that of no other seed."""
    return np.stack([noise(seed + 100 * channel, height, width) for channel in range(3)], axis=2)


def write_dfine(folder: Path, seed: int = 0) -> Path:
    """Write a D-FINE of 125,000 weights that sees images at 64x64."""
    from transformers import DFineConfig, DFineForObjectDetection, HGNetV2Config, RTDetrImageProcessor

    backbone = HGNetV2Config(
        hidden_sizes=[16, 32, 64, 64],
        depths=[1, 1, 1, 1],
        embedding_size=16,
        stem_channels=[3, 8, 16],
        stage_in_channels=[16, 16, 32, 64],
        stage_mid_channels=[8, 8, 16, 16],
        stage_out_channels=[16, 32, 64, 64],
        stage_num_blocks=[1, 1, 1, 1],
        stage_downsample=[False, True, True, True],
        stage_light_block=[False, False, True, True],
        stage_kernel_size=[3, 3, 3, 3],
        stage_numb_of_layers=[2, 2, 2, 2],
        out_features=["stage2", "stage3", "stage4"],
    )
    config = DFineConfig(
        backbone_config=backbone,
        encoder_in_channels=[32, 64, 64],
        encoder_hidden_dim=32,
        encoder_ffn_dim=32,
        encoder_attention_heads=4,
        d_model=32,
        decoder_ffn_dim=32,
        decoder_attention_heads=4,
        decoder_layers=2,
        decoder_in_channels=[32, 32, 32],
        decoder_n_points=[2, 2, 2],
        num_queries=20,
        num_denoising=0,
        depth_mult=0.34,
        hidden_expansion=0.5,
        lqe_hidden_dim=16,
        id2label=dict(enumerate(LABELS)),
    )
    return _written(folder, lambda: DFineForObjectDetection(config), RTDetrImageProcessor(size=_square(SIDE)), seed)


def write_rfdetr(folder: Path, seed: int = 0) -> Path:
    """Write an RF-DETR of 60,000 weights that sees images at 64x64."""
    from transformers import RfDetrConfig, RfDetrForObjectDetection, RfDetrImageProcessor
    from transformers.models.rf_detr.configuration_rf_detr import RfDetrDinov2Config

    backbone = RfDetrDinov2Config(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        mlp_ratio=2,
        patch_size=8,
        image_size=SIDE,
        num_windows=2,
        window_block_indexes=[0],
        out_features=["stage1", "stage2"],
    )
    config = RfDetrConfig(
        backbone_config=backbone,
        d_model=32,
        decoder_ffn_dim=32,
        decoder_layers=1,
        decoder_self_attention_heads=2,
        decoder_cross_attention_heads=2,
        decoder_n_points=2,
        c2f_num_blocks=1,
        num_queries=20,
        group_detr=2,
        id2label=dict(enumerate(LABELS)),
    )
    return _written(folder, lambda: RfDetrForObjectDetection(config), RfDetrImageProcessor(size=_square(SIDE)), seed)


def _square(side: int) -> dict[str, int]:
    return {"height": side, "width": side}


def _written(folder: Path, make: Any, processor: Any, seed: int, larger: float = 1.5, looks: str = "") -> Path:
    import torch

    quiet()
    torch.manual_seed(seed)
    model = make().eval()
    with torch.no_grad():
        # Trained weights are not all of one size either; without this, all frames look the same.
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                parameter.mul_(larger * (1000 if looks and looks in name else 1))
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def write_blip(folder: Path, seed: int = 0) -> Path:
    """Write a BLIP captioner of 60,000 weights and forty words that sees images at 32x32."""
    from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration, BlipImageProcessor, BlipProcessor

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", *(f"word{n}" for n in range(33)), "a"]
    tokenizer = BertTokenizer(vocab={word: at for at, word in enumerate(words)}, additional_special_tokens=["[DEC]"])
    text = {
        "vocab_size": len(words),
        "hidden_size": 32,
        "encoder_hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 64,
        "bos_token_id": words.index("[DEC]"),
        "sep_token_id": words.index("[SEP]"),
        "eos_token_id": words.index("[SEP]"),
        "pad_token_id": words.index("[PAD]"),
    }
    vision = {
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 8,
    }
    config = BlipConfig(text_config=text, vision_config=vision, projection_dim=16, image_text_hidden_size=16)
    processor = BlipProcessor(BlipImageProcessor(size=_square(32)), tokenizer)
    return _written(folder, lambda: BlipForConditionalGeneration(config), processor, seed, 8, "crossattention")


def write_sam2(folder: Path, seed: int = 0) -> Path:
    """Write a SAM 2 of 300,000 weights that sees images at 128x128."""
    from transformers import Sam2Config, Sam2ImageProcessor, Sam2Model, Sam2Processor

    side = 128
    vision = {
        "backbone_config": {
            "model_type": "sam2_hiera_det_model",
            "hidden_size": 12,
            "image_size": [side, side],
            "blocks_per_stage": [1, 1, 2, 1],
            "embed_dim_per_stage": [12, 24, 48, 96],
            "num_attention_heads_per_stage": [1, 2, 4, 8],
            "window_size_per_stage": [8, 4, 4, 2],
            "global_attention_blocks": [3],
        },
        "backbone_channel_list": [96, 48, 24, 12],
        "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
        "fpn_hidden_size": 32,
    }
    prompts = {"hidden_size": 32, "image_size": side, "patch_size": 16, "mask_input_channels": 8}
    decoder = {"hidden_size": 32, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 32}
    config = Sam2Config(vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=decoder)
    processor = Sam2Processor(Sam2ImageProcessor(size=_square(side), mask_size=_square(side // 4)))
    return _written(folder, lambda: Sam2Model(config), processor, seed, 3)


def write_sam2_video(folder: Path, seed: int = 0) -> Path:
    """Write a SAM 2 of 1,300,000 weights that sees images at 128x128 and remembers two of them, three as pointers.

    What it remembers of a frame has 64 channels in every SAM 2, and half as many as what it sees or fewer.
    """
    from transformers import (
        Sam2ImageProcessor,
        Sam2VideoConfig,
        Sam2VideoModel,
        Sam2VideoProcessor,
        Sam2VideoVideoProcessor,
    )

    side, width = 128, 128
    vision = {
        "model_type": "sam2_vision_model",
        "backbone_config": {
            "model_type": "sam2_hiera_det_model",
            "hidden_size": 12,
            "image_size": [side, side],
            "blocks_per_stage": [1, 1, 2, 1],
            "embed_dim_per_stage": [12, 24, 48, 96],
            "num_attention_heads_per_stage": [1, 2, 4, 8],
            "window_size_per_stage": [8, 4, 4, 2],
            "global_attention_blocks": [3],
        },
        "backbone_channel_list": [96, 48, 24, 12],
        "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
        "fpn_hidden_size": width,
    }
    config = Sam2VideoConfig(
        vision_config=vision,
        prompt_encoder_config={
            "hidden_size": width,
            "image_size": side,
            "patch_size": 16,
            "mask_input_channels": 8,
        },
        mask_decoder_config={
            "hidden_size": width,
            "mlp_dim": 32,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 32,
        },
        image_size=side,
        num_maskmem=3,
        max_object_pointers_in_encoder=4,
        memory_attention_hidden_size=width,
        memory_attention_num_layers=2,
        memory_attention_feed_forward_hidden_size=32,
        memory_attention_rope_feat_sizes=[8, 8],
        memory_encoder_hidden_size=width,
        memory_encoder_output_channels=64,
        mask_downsampler_embed_dim=width,
        memory_fuser_embed_dim=width,
        memory_fuser_intermediate_dim=32,
    )
    image = Sam2ImageProcessor(size=_square(side), mask_size=_square(side // 4))
    processor = Sam2VideoProcessor(image, Sam2VideoVideoProcessor(size=_square(side)))
    return _written(folder, lambda: Sam2VideoModel(config), processor, seed, 3)


def _letters(length: int) -> Any:
    """Return a CLIP tokenizer that knows letters alone."""
    import string

    from transformers import CLIPTokenizer

    letters = [*string.ascii_lowercase, *(f"{letter}</w>" for letter in string.ascii_lowercase)]
    words = [*letters, "<|startoftext|>", "<|endoftext|>"]
    vocab = {word: at for at, word in enumerate(words)}
    return CLIPTokenizer(vocab=vocab, merges=[], model_max_length=length)


_WORDS = 54


def write_owl(folder: Path, seed: int = 0) -> Path:
    """Write an OWLv2 of 60,000 weights that sees images at 64x64, and sixteen letters."""
    from transformers import Owlv2Config, Owlv2ForObjectDetection, Owlv2ImageProcessor, Owlv2Processor

    small = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = small | {"vocab_size": _WORDS, "bos_token_id": _WORDS - 2, "eos_token_id": _WORDS - 1}
    vision = small | {"image_size": SIDE, "patch_size": 16}
    config = Owlv2Config(text_config=text, vision_config=vision, projection_dim=32)
    processor = Owlv2Processor(Owlv2ImageProcessor(size=_square(SIDE)), _letters(16))
    return _written(folder, lambda: Owlv2ForObjectDetection(config), processor, seed, 1)


def write_sam3(folder: Path, seed: int = 0) -> Path:
    """Write a SAM 3 of a few hundred thousand weights that sees images at 112x112."""
    from transformers import Sam3Config, Sam3ImageProcessor, Sam3Model, Sam3Processor

    side = 112
    layers = {"hidden_size": 32, "num_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    backbone = {
        "model_type": "sam3_vit_model",
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": side,
        "pretrain_image_size": 56,
        "patch_size": 14,
        "window_size": 4,
        "global_attn_indexes": [1],
    }
    sizes = [[32, 32], [16, 16], [8, 8]]
    config = Sam3Config(
        vision_config={"backbone_config": backbone, "fpn_hidden_size": 32, "backbone_feature_sizes": sizes},
        text_config={
            "vocab_size": _WORDS,
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "max_position_embeddings": 32,
            "projection_dim": 32,
            "bos_token_id": _WORDS - 2,
            "eos_token_id": _WORDS - 1,
        },
        geometry_encoder_config=layers,
        detr_encoder_config=layers,
        detr_decoder_config=layers | {"num_queries": 12},
        mask_decoder_config={"hidden_size": 32, "num_attention_heads": 2},
    )
    image = Sam3ImageProcessor(size=_square(side), mask_size=_square(32))
    return _written(folder, lambda: Sam3Model(config), Sam3Processor(image, _letters(32)), seed, 2)


def pickled(folder: Path, target: Path) -> Path:
    """Write a model once more, its weights as `torch.save` has them, as older repositories do."""
    import torch
    from safetensors.torch import load_file

    target.mkdir(parents=True)
    for file in folder.iterdir():
        if file.suffix != ".safetensors":
            (target / file.name).write_bytes(file.read_bytes())
    torch.save(load_file(folder / "model.safetensors"), target / "pytorch_model.bin")
    return target
