"""Export formats, one per module: rows in, named bytes out; the same rows give the same bytes.

Rows are frames in the order of stream and number, with at least `stream_id`, `frame_idx`, `file_name`, `width`,
`height` and `split`. Objects on them come beside them, as `transforms.formats.exports.objects` has them.
"""
