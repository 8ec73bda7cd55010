// The configuration as a form: what the server says of each setting, what somebody typed, and how it is sent.

export type Value = number | boolean | string | null | readonly string[];

export interface FormSetting {
  key: string;
  value: Value;
  default: Value;
  /** What it takes, in words: `number from 0 to 255`. */
  kind: string;
  form: 'switch' | 'choice' | 'choices' | 'integer' | 'number' | 'list' | 'text';
  /** Whether it may have no value. */
  none: boolean;
  choices: readonly string[];
  unit: string;
  low: number | null;
  high: number | null;
  text: string;
}

export interface FormSection {
  name: string;
  text: string;
  /** The stages that read it; none where every run does. */
  stages: readonly string[];
  settings: readonly FormSetting[];
}

export interface FormStage {
  name: string;
  text: string;
  optional: boolean;
  chosen: boolean;
  runs: boolean;
}

export interface Configuration {
  profile: string;
  run: string | null;
  profiles: readonly { name: string; text: string }[];
  stages: readonly FormStage[];
  sections: readonly FormSection[];
  options: Record<string, string>;
}

/** What was typed, by key; a key that is not there has the value of the profile. */
export type Edits = Record<string, string>;

/** A value as it is typed: nothing for none, lists with commas. */
export function typed(value: Value): string {
  if (value === null) return '';
  return Array.isArray(value) ? value.join(', ') : String(value);
}

/** The edits after one more: what is as it was is no edit. */
export function edited(edits: Edits, setting: FormSetting, text: string | null): Edits {
  const next = { ...edits };
  if (text === null || text === typed(setting.value)) delete next[setting.key];
  else next[setting.key] = text;
  return next;
}

const isBlank = (text: string): boolean => text.trim() === '';
// What YAML reads as something else than the text that it is has to be quoted.
const WORDS = /^[A-Za-z_][\w./+-]*$/;
const NO_TEXT = /^(true|false|yes|no|on|off|null|none|nan|inf)$/i;
const isRaw = (key: string): boolean => key.startsWith('when.') || key === 'ingest.name';
const asText = (text: string): string => (WORDS.test(text) && !NO_TEXT.test(text) ? text : JSON.stringify(text));

/** A value as `--set` and YAML take it. */
export function written(setting: FormSetting, text: string): string {
  if (isBlank(text) && setting.none) return 'null';
  if (setting.form === 'choices' || setting.form === 'list') {
    return `[${text.split(',').map((part) => part.trim()).filter(Boolean).map(asText).join(', ')}]`;
  }
  if (setting.form !== 'text' || isRaw(setting.key) || !setting.kind.startsWith('text')) return text.trim();
  return asText(text);
}

/** What is wrong with what was typed, as far as a page can say; the server has the last word. */
export function wrongWith(setting: FormSetting, text: string): string | null {
  if (isBlank(text)) return setting.none || ['list', 'choices', 'text', 'choice', 'switch'].includes(setting.form) ? null : `expected ${setting.kind}`;
  if (setting.form !== 'integer' && setting.form !== 'number') return null;
  const value = Number(text);
  const fits =
    Number.isFinite(value) &&
    (setting.form === 'number' || Number.isInteger(value)) &&
    (setting.low === null || (setting.kind.includes(`above ${setting.low}`) ? value > setting.low : value >= setting.low)) &&
    (setting.high === null || (setting.kind.includes('below') ? value < setting.high : value <= setting.high));
  return fits ? null : `expected ${setting.kind}, found ${text}`;
}

export const allSettings = (sections: readonly FormSection[]): FormSetting[] => sections.flatMap((each) => [...each.settings]);

/** The settings that differ, as `KEY=VALUE`, in order of the form. */
export function settingsOf(sections: readonly FormSection[], edits: Edits): string[] {
  return allSettings(sections)
    .filter((each) => edits[each.key] !== undefined)
    .map((each) => `${each.key}=${written(each, edits[each.key] ?? '')}`);
}

/** The stages that a run has, as options: those added to the profile's, or all of them where one was taken away. */
export function stagesOf(stages: readonly FormStage[], chosen: ReadonlySet<string>): { add: string[]; settings: string[] } {
  const ofProfile = stages.filter((each) => each.chosen).map((each) => each.name);
  const wanted = stages.map((each) => each.name).filter((name) => chosen.has(name));
  if (ofProfile.every((name) => chosen.has(name))) return { add: wanted.filter((name) => !ofProfile.includes(name)), settings: [] };
  return { add: [], settings: [`stages=[${wanted.join(', ')}]`] };
}

/** Whether a run reads a section: one of its stages runs. */
export const isRead = (section: FormSection, running: ReadonlySet<string>): boolean =>
  section.stages.length === 0 || section.stages.some((name) => running.has(name));

/** Words as a shell takes them. */
export const shell = (words: readonly string[]): string =>
  words.map((word) => (/^[\w.,=+:@%/-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`)).join(' ');

/** A configuration file with what differs from the profile. */
export function yamlOf(profile: string, settings: readonly string[], added: readonly string[] = []): string {
  const lines = [`profile: ${profile}`];
  const sections = new Map<string, string[]>();
  const all = added.length > 0 ? [...settings, `stages=[${added.map((name) => `+${name}`).join(', ')}]`] : settings;
  for (const setting of all) {
    const at = setting.indexOf('=');
    const [key, text] = [setting.slice(0, at), setting.slice(at + 1)];
    const value = isRaw(key) && text !== 'null' ? JSON.stringify(text) : text;
    const dot = key.indexOf('.');
    if (dot < 0) lines.push(`${key}: ${value}`);
    else sections.set(key.slice(0, dot), [...(sections.get(key.slice(0, dot)) ?? []), `  ${key.slice(dot + 1)}: ${value}`]);
  }
  for (const [section, entries] of sections) lines.push(`${section}:`, ...entries);
  return `${lines.join('\n')}\n`;
}

/** Lines of a refusal, each at the field that it names; under '' those that name none. */
export function atFields(lines: readonly string[], keys: readonly string[], inputs: readonly string[] = []): Record<string, string[]> {
  const known = new Set(keys);
  const found: Record<string, string[]> = {};
  for (const line of lines) {
    const named =
      /^settings: '([\w.]+)=/.exec(line)?.[1] ??
      /^--set ([\w.]+)/.exec(line)?.[1] ??
      /^--([a-z-]+)\b/.exec(line)?.[1]?.replaceAll('-', '_') ??
      /^(?:options\.)?([a-z_]+(?:\.[a-z_]+)?)\b(?:\.\d+)*:/.exec(line)?.[1];
    let field = named !== undefined && known.has(named) ? named : '';
    if (!field && /^(unknown key|--set )/.test(line)) field = 'settings';
    if (!field && /^stream id/.test(line)) field = 'stream_ids';
    if (!field && inputs.some((each) => each && line.includes(each))) field = 'inputs';
    (found[field] ??= []).push(line);
  }
  return found;
}
