"""Export formats of datasets, one per module: rows to named files, deterministic byte for byte.

Rows are frames in the order of stream and frame number, with at least `stream_id`, `frame_idx`, `file_name`, `width`,
`height` and `split`. Their objects are passed as `transforms.formats.exports.objects.Objects`.
"""
