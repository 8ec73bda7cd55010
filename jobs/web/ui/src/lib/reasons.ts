// Each reason to drop a frame has a letter, a colour and a pattern, so that none is told by its colour alone.

export interface Look {
  letter: string;
  /** One of the colours --hue-1 to --hue-9. */
  hue: number;
  label: string;
}

const KNOWN: Record<string, Look> = {
  corrupt: { letter: 'C', hue: 1, label: 'corrupt' },
  damaged: { letter: 'M', hue: 2, label: 'damaged' },
  blurry: { letter: 'B', hue: 3, label: 'blurry' },
  dark: { letter: 'D', hue: 4, label: 'dark' },
  overexposed: { letter: 'O', hue: 5, label: 'overexposed' },
  low_information: { letter: 'L', hue: 6, label: 'low information' },
  idle: { letter: 'I', hue: 7, label: 'idle' },
  exact_duplicate: { letter: 'E', hue: 8, label: 'exact duplicate' },
  near_duplicate: { letter: 'N', hue: 9, label: 'near duplicate' },
  by_hand: { letter: 'H', hue: 1, label: 'by hand' },
};

/** How a reason looks; one that is not known here gets its first letter. */
export function lookOf(reason: string): Look {
  const known = KNOWN[reason];
  if (known) return known;
  const sum = [...reason].reduce((total, letter) => total + letter.charCodeAt(0), 0);
  return { letter: (reason[0] ?? '?').toUpperCase(), hue: 1 + (sum % 9), label: reason.replaceAll('_', ' ') };
}
