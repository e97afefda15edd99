import {
  variableByteIntegerLength,
  variableByteIntegerMax,
  writeVariableByteInteger,
} from './variable-byte-integer.js';

const smallest = 4096;
/** A scratch buffer that one large packet made bigger than this is not kept. */
const keptMax = 1 << 20;

/**
 * Writes the data types of v5 §1.5 into one growing scratch buffer and cuts finished packets out of it.
 *
 * A value that does not fit its field is the caller's mistake and a RangeError that names the field.
 */
export class FieldWriter {
  private bytes = Buffer.allocUnsafeSlow(smallest);
  private position = 0;

  reset(): void {
    if (this.bytes.length > keptMax) this.bytes = Buffer.allocUnsafeSlow(smallest);
    this.position = 0;
  }

  byte(value: number): void {
    this.room(1);
    this.bytes[this.position] = value;
    this.position += 1;
  }

  twoByteInteger(value: number, field: string): void {
    checkRange(value, 0xffff, field);
    this.room(2);
    this.position = this.bytes.writeUInt16BE(value, this.position);
  }

  fourByteInteger(value: number, field: string): void {
    checkRange(value, 0xffff_ffff, field);
    this.room(4);
    this.position = this.bytes.writeUInt32BE(value, this.position);
  }

  variableByteInteger(value: number, field: string): void {
    checkRange(value, variableByteIntegerMax, field);
    this.room(4);
    this.position = writeVariableByteInteger(this.bytes, this.position, value);
  }

  string(value: string, field: string): void {
    this.room(2 + value.length * 3);
    const length = this.bytes.write(value, this.position + 2, 'utf8');
    checkLength(length, field);
    this.bytes.writeUInt16BE(length, this.position);
    this.position += 2 + length;
  }

  binary(value: Uint8Array, field: string): void {
    checkLength(value.length, field);
    this.room(2 + value.length);
    this.bytes.writeUInt16BE(value.length, this.position);
    this.bytes.set(value, this.position + 2);
    this.position += 2 + value.length;
  }

  raw(value: Uint8Array): void {
    this.room(value.length);
    this.bytes.set(value, this.position);
    this.position += value.length;
  }

  /** A copy of what was written, without a fixed header. */
  take(): Buffer {
    const taken = Buffer.allocUnsafe(this.position);
    this.bytes.copy(taken, 0, 0, this.position);
    return taken;
  }

  /** A copy of what was written behind its fixed header, `payload` after it. */
  takePacket(firstByte: number, payload?: Uint8Array): Buffer {
    const fields = this.position;
    const remainingLength = fields + (payload === undefined ? 0 : payload.length);
    if (remainingLength > variableByteIntegerMax) {
      throw new RangeError(
        `a packet of ${remainingLength} bytes exceeds the ${variableByteIntegerMax} that MQTT can carry`,
      );
    }
    const packet = Buffer.allocUnsafe(1 + variableByteIntegerLength(remainingLength) + remainingLength);
    packet[0] = firstByte;
    const at = writeVariableByteInteger(packet, 1, remainingLength);
    this.bytes.copy(packet, at, 0, this.position);
    if (payload !== undefined) packet.set(payload, at + fields);
    return packet;
  }

  private room(count: number): void {
    const needed = this.position + count;
    if (needed <= this.bytes.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.bytes.length * 2));
    this.bytes.copy(grown, 0, 0, this.position);
    this.bytes = grown;
  }
}

function checkRange(value: number, max: number, field: string): void {
  if (Number.isInteger(value) && value >= 0 && value <= max) return;
  throw new RangeError(`${field} must be a whole number from 0 to ${max}, not ${value}`);
}

function checkLength(length: number, field: string): void {
  if (length > 0xffff) throw new RangeError(`${field} takes ${length} bytes, more than the 65535 that MQTT can carry`);
}
