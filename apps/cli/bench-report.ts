// How `dunlin bench` shows itself to a person: the progress line and the result table.

import type { LatencySummary, LoadPlan, LoadReport, Progress } from './load/index.js';

const count = (value: number) => Math.round(value).toLocaleString('en-US');

/** Microseconds in the unit that suits them. */
export function formatMicros(micros: number): string {
  if (micros < 1000) return `${micros.toFixed(0)} µs`;
  if (micros < 1_000_000) return `${(micros / 1000).toFixed(micros < 10_000 ? 2 : 1)} ms`;
  return `${(micros / 1_000_000).toFixed(2)} s`;
}

export function formatBytes(bytes: number): string {
  if (Math.abs(bytes) < 1024) return `${bytes} B`;
  if (Math.abs(bytes) < 1024 * 1024) return `${(bytes / 1024).toFixed(1)} KiB`;
  return `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
}

function formatLatency(latency: LatencySummary): string {
  const { p50, p99, p999, max } = latency;
  return `p50 ${formatMicros(p50)}   p99 ${formatMicros(p99)}   p99.9 ${formatMicros(p999)}   max ${formatMicros(max)}`;
}

export function describePlan(plan: LoadPlan): string {
  const parts: string[] = [];
  if (plan.publishers > 0) parts.push(`${count(plan.publishers)} publisher${plan.publishers === 1 ? '' : 's'}`);
  if (plan.subscribers > 0) {
    const noun = plan.layout === 'idle' ? 'connection' : 'subscriber';
    parts.push(`${count(plan.subscribers)} ${noun}${plan.subscribers === 1 ? '' : 's'}`);
  }
  const what = [parts.join(' to ')];
  if (plan.layout !== 'idle') what.push(`QoS ${plan.qos}`);
  if (plan.publishers > 0) what.push(`${plan.payloadBytes} bytes`);
  if (plan.rate > 0) what.push(`${count(plan.rate)} messages/s`);
  what.push(
    `MQTT ${plan.level === 5 ? '5.0' : '3.1.1'}${plan.tls === undefined ? '' : ' over TLS'}`,
    `${plan.host}:${plan.port}`,
  );
  return what.join(', ');
}

/** Rows of label and text. */
export function formatReport(report: LoadReport): string {
  const rows: [string, string][] = [];
  const { setup } = report;
  rows.push([
    'connected',
    `${count(setup.connections)} in ${setup.seconds.toFixed(2)} s (${count(setup.perSecond)}/s)   ` +
      `handshake ${formatLatency(setup.handshake)}`,
  ]);
  rows.push(['measured', `${report.seconds.toFixed(2)} s`]);
  if (report.sent > 0) rows.push(['sent', `${count(report.sent)} (${count(report.sentPerSecond)}/s)`]);
  if (report.received > 0) rows.push(['received', `${count(report.received)} (${count(report.receivedPerSecond)}/s)`]);
  if (report.lost !== undefined && report.expected !== undefined) {
    const share = report.expected > 0 ? (100 * report.lost) / report.expected : 0;
    rows.push(['lost', `${count(report.lost)} of ${count(report.expected)} (${share.toFixed(3)} %)`]);
  }
  if (report.duplicates !== undefined && report.received > 0)
    rows.push(['order', `${count(report.duplicates)} duplicates, ${count(report.outOfOrder ?? 0)} out of order`]);
  if (report.latency.count > 0) rows.push(['latency', formatLatency(report.latency)]);
  if (report.lateness !== undefined) rows.push(['sent late', formatLatency(report.lateness)]);
  rows.push(...troubles(report));
  const { watched } = report;
  if (watched !== undefined) {
    rows.push([
      'broker CPU',
      `${watched.cpuPercent.toFixed(0)} % of a core` +
        (watched.cpuMicrosPerMessage > 0 ? `, ${watched.cpuMicrosPerMessage.toFixed(2)} µs per message` : '') +
        `, ${watched.setupCpuMicrosPerConnection.toFixed(0)} µs per connection made`,
    ]);
    rows.push([
      'broker memory',
      `${formatBytes(watched.rssBytesAfter)} resident, ${formatBytes(watched.rssBytesPerConnection)} more per connection`,
    ]);
  }
  return rows.map(([label, text]) => `  ${label.padEnd(14)} ${text}`).join('\n');
}

/** Only what went wrong gets a row. */
function troubles(report: LoadReport): [string, string][] {
  const rows: [string, string][] = [];
  if (report.refused > 0) rows.push(['refused', `${count(report.refused)} messages acknowledged with an error`]);
  if (report.foreign > 0) rows.push(['foreign', `${count(report.foreign)} messages that this run did not send`]);
  if (report.skipped > 0)
    rows.push(['skipped', `${count(report.skipped)} messages due but not sent: the connection was full or gone`]);
  if (report.stalls > 0) rows.push(['stalls', `${count(report.stalls)} times a publisher gave up waiting`]);
  if (report.closed > 0)
    rows.push(['closed', `${count(report.closed)} connections: ${report.closedReason ?? 'unknown'}`]);
  return rows;
}

/** One line that overwrites itself; silent where standard error is not a terminal. */
export class ProgressLine {
  private shown = false;
  private last: Progress | undefined;
  private rate = 0;

  constructor(private readonly stream: NodeJS.WriteStream) {}

  show(progress: Progress): void {
    if (!this.stream.isTTY) return;
    const { last } = this;
    if (last !== undefined && last.phase === progress.phase && progress.seconds > last.seconds) {
      const done = Math.max(progress.received - last.received, progress.sent - last.sent);
      this.rate = done / (progress.seconds - last.seconds);
    }
    this.last = progress;
    const text =
      `${progress.phase} ${progress.seconds.toFixed(1)} s   ${count(progress.ready)} connected   ` +
      `${count(progress.sent)} sent   ${count(progress.received)} received   ${count(this.rate)}/s`;
    this.stream.write(`\r\u001b[2K${text.slice(0, (this.stream.columns || 80) - 1)}`);
    this.shown = true;
  }

  clear(): void {
    if (this.shown) this.stream.write('\r\u001b[2K');
    this.shown = false;
  }
}
