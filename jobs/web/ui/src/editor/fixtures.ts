// Objects for tests.

import type { ReviewObject } from './wire';

export const reviewObject = (object_id: string, more: Partial<ReviewObject> = {}): ReviewObject => ({
  object_id, category: 'car', bbox: [10, 10, 20, 20], rotation: 0, polygons: null, rle: null, track_id: null, keyframe: null,
  text: null, score: 0.5, source: 'onnx', model: 'm', origin: 'model', author: null, checked_by: null, revision: 0, ...more,
});
