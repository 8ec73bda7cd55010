"""Small checkpoints of random weights as the package `sam2` reads them, and what the package makes of them itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_SAM2_PACKAGE = """
model:
  _target_: sam2.modeling.sam2_base.SAM2Base
  image_encoder:
    _target_: sam2.modeling.backbones.image_encoder.ImageEncoder
    scalp: 1
    trunk:
      _target_: sam2.modeling.backbones.hieradet.Hiera
      embed_dim: 12
      num_heads: 1
      stages: [1, 1, 2, 1]
      global_att_blocks: [3]
      window_spec: [8, 4, 4, 2]
      window_pos_embed_bkg_spatial_size: [7, 7]
    neck:
      _target_: sam2.modeling.backbones.image_encoder.FpnNeck
      position_encoding:
        _target_: sam2.modeling.position_encoding.PositionEmbeddingSine
        num_pos_feats: 128
        normalize: true
        scale: null
        temperature: 10000
      d_model: 128
      backbone_channel_list: [96, 48, 24, 12]
      fpn_top_down_levels: [2, 3]
      fpn_interp_model: nearest
  memory_attention:
    _target_: sam2.modeling.memory_attention.MemoryAttention
    d_model: 128
    pos_enc_at_input: true
    num_layers: 2
    layer:
      _target_: sam2.modeling.memory_attention.MemoryAttentionLayer
      activation: relu
      dim_feedforward: 32
      dropout: 0.1
      pos_enc_at_attn: false
      d_model: 128
      pos_enc_at_cross_attn_keys: true
      pos_enc_at_cross_attn_queries: false
      self_attention: &attention
        _target_: sam2.modeling.sam.transformer.RoPEAttention
        rope_theta: 10000.0
        feat_sizes: [8, 8]
        embedding_dim: 128
        num_heads: 1
        downsample_rate: 1
        dropout: 0.1
      cross_attention:
        <<: *attention
        rope_k_repeat: true
        kv_in_dim: 64
  memory_encoder:
    _target_: sam2.modeling.memory_encoder.MemoryEncoder
    in_dim: 128
    out_dim: 64
    position_encoding:
      _target_: sam2.modeling.position_encoding.PositionEmbeddingSine
      num_pos_feats: 64
      normalize: true
      scale: null
      temperature: 10000
    mask_downsampler:
      _target_: sam2.modeling.memory_encoder.MaskDownSampler
      embed_dim: 128
      kernel_size: 3
      stride: 2
      padding: 1
    fuser:
      _target_: sam2.modeling.memory_encoder.Fuser
      num_layers: 2
      layer:
        _target_: sam2.modeling.memory_encoder.CXBlock
        dim: 128
        kernel_size: 7
        padding: 3
        layer_scale_init_value: 1e-6
        use_dwconv: true
  num_maskmem: 3
  max_obj_ptrs_in_encoder: 4
  image_size: 128
  sigmoid_scale_for_mem_enc: 20.0
  sigmoid_bias_for_mem_enc: -10.0
  use_mask_input_as_output_without_sam: true
  directly_add_no_mem_embed: true
  no_obj_embed_spatial: true
  use_high_res_features_in_sam: true
  multimask_output_in_sam: true
  iou_prediction_use_sigmoid: true
  use_obj_ptrs_in_encoder: true
  add_tpos_enc_to_obj_ptrs: true
  proj_tpos_enc_in_obj_ptrs: true
  use_signed_tpos_enc_to_obj_ptrs: true
  only_obj_ptrs_in_the_past_for_eval: true
  pred_obj_scores: true
  pred_obj_scores_mlp: true
  fixed_no_obj_ptr: true
  multimask_output_for_tracking: true
  use_multimask_token_for_obj_ptr: true
  multimask_min_pt_num: 0
  multimask_max_pt_num: 1
  use_mlp_for_obj_ptr_proj: true
"""


def write_sam2_package(folder: Path, seed: int = 1) -> Path:
    """Write a checkpoint of the package `sam2`, which sees images at 128x128, with its configuration next to it.

    Return the checkpoint. What it remembers is as in `write_sam2_video`.
    """
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tiny.yaml").write_text(_SAM2_PACKAGE)
    torch.manual_seed(seed)
    model = sam2_of(folder / "tiny.yaml")
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(2)
    torch.save({"model": model.state_dict()}, folder / "tiny.pt")
    return folder / "tiny.pt"


def sam2_of(configuration: Path, checkpoint: Path | None = None, **settings: Any) -> Any:
    """Return what the package's own way makes of a configuration, with settings over it, and of a checkpoint."""
    import torch
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    config = OmegaConf.merge(OmegaConf.load(configuration), {"model": settings})
    model = instantiate(config.model, _recursive_=True)
    if checkpoint is not None:
        model.load_state_dict(torch.load(checkpoint, weights_only=True)["model"])
    return model.eval()
