// What a run would do, as the server forecasts it.

export interface PlannedStage {
  stage: string;
  frames: number;
  compute: number;
  verify: number;
  remove: number;
  reasons: Record<string, number>;
  rule: string | null;
  chosen: number | null;
  of: number | null;
  depends_on: string[];
  /** How long it may take; null where it never ran here. */
  seconds: number | null;
}

export interface Plan {
  frames: number;
  streams: { stream_id: string; frames: number }[];
  stages: PlannedStage[];
  seconds: number;
  unknown: string[];
}

/** The options of a run as they are sent: what is as by default is left out. */
export interface RunOptions {
  inputs: string[];
  profile?: string;
  settings?: string[];
  add_stages?: string[];
  stream_ids?: string[];
  rebind?: boolean;
  allow_missing?: boolean;
  limit?: number | string;
  ray_address?: string;
  on_error?: string;
  pause_after?: string;
  strict?: boolean;
  reread?: boolean;
}

/** The same as words of the command line. */
export function commandOf(options: RunOptions): string[] {
  const words = ['winnow', 'run'];
  const each = (flag: string, values: readonly string[] = []): void => values.forEach((value) => words.push(flag, value));
  each('--input', options.inputs);
  if (options.profile) words.push('--profile', options.profile);
  each('--set', options.settings);
  each('--add-stage', options.add_stages);
  each('--stream-id', options.stream_ids);
  for (const [name, flag] of [['rebind', '--rebind'], ['allow_missing', '--allow-missing'], ['strict', '--strict'], ['reread', '--reread']] as const) {
    if (options[name]) words.push(flag);
  }
  if (options.limit !== undefined) words.push('--limit', String(options.limit));
  if (options.on_error) words.push('--on-error', options.on_error);
  if (options.pause_after) words.push('--pause-after', options.pause_after);
  if (options.ray_address) words.push('--ray-address', options.ray_address);
  return words;
}
