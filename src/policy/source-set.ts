/**
 * The sources of one chain, in order, each with the settings it was made of. When a chain gets other settings, a source whose own are as
 * before stays, with its connections and all that it remembers.
 */
import { isDeepStrictEqual } from 'node:util';

interface Sourced<Options, Source> {
  readonly options: Options;
  readonly source: Source;
}

/** What a chain is to consist of. Nothing counts before it is taken. */
export interface PlannedSources<Options, Source> {
  readonly entries: readonly Sourced<Options, Source>[];
  readonly sources: readonly Source[];
  /** Made for it, not open yet. */
  readonly fresh: readonly Source[];
  /** In force at present, and not part of it. */
  readonly gone: readonly Source[];
}

export class SourceSet<Options extends { readonly name: string }, Source> {
  private entries: readonly Sourced<Options, Source>[] = [];

  constructor(private readonly make: (options: Options) => Source) {}

  /** Errors  Error in words where an option cannot be used. */
  plan(all: readonly Options[]): PlannedSources<Options, Source> {
    const fresh: Source[] = [];
    const entries = all.map((options) => {
      const kept = this.entries.find((entry) => isDeepStrictEqual(entry.options, options));
      if (kept !== undefined) return kept;
      const source = this.make(options);
      fresh.push(source);
      return { options, source };
    });
    const gone = this.entries.filter((entry) => !entries.includes(entry)).map(({ source }) => source);
    return { entries, sources: entries.map(({ source }) => source), fresh, gone };
  }

  take(planned: PlannedSources<Options, Source>): void {
    this.entries = planned.entries;
  }
}
