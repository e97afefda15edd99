import { malformed } from './protocol-failure.js';
import { isAscii, isValidUtf8 } from './utf8.js';
import {
  readVariableByteInteger,
  variableByteIntegerIncomplete,
  variableByteIntegerLength,
  variableByteIntegerMalformed,
} from './variable-byte-integer.js';

const nothing = Buffer.alloc(0);

/**
 * Reads the data types of v5 §1.5 off a range of bytes, in order. Every method takes the name of the field it reads, which
 * becomes part of the failure: `PUBLISH Topic Name is cut short`.
 */
export class FieldReader {
  bytes: Buffer = nothing;
  position = 0;
  end = 0;
  packetName = '';

  reset(bytes: Buffer, start: number, end: number, packetName: string): void {
    this.bytes = bytes;
    this.position = start;
    this.end = end;
    this.packetName = packetName;
  }

  /** Lets go of the bytes, so that a reader kept for reuse holds no chunk. */
  release(): void {
    this.bytes = nothing;
    this.position = 0;
    this.end = 0;
  }

  get remaining(): number {
    return this.end - this.position;
  }

  byte(field: string): number {
    this.need(1, field);
    const value = this.bytes[this.position]!;
    this.position += 1;
    return value;
  }

  twoByteInteger(field: string): number {
    this.need(2, field);
    const value = (this.bytes[this.position]! << 8) | this.bytes[this.position + 1]!;
    this.position += 2;
    return value;
  }

  fourByteInteger(field: string): number {
    this.need(4, field);
    const value = this.bytes.readUInt32BE(this.position);
    this.position += 4;
    return value;
  }

  variableByteInteger(field: string): number {
    const value = readVariableByteInteger(this.bytes, this.position, this.end);
    if (value === variableByteIntegerIncomplete) throw this.cutShort(field);
    if (value === variableByteIntegerMalformed) {
      throw malformed('MQTT-1.5.5-1', `${this.packetName} ${field} is no minimal Variable Byte Integer`);
    }
    this.position += variableByteIntegerLength(value);
    return value;
  }

  /** `requirement` is the statement that asks for well-formed text in this field. */
  string(field: string, requirement = 'MQTT-1.5.4-1'): string {
    const length = this.twoByteInteger(field);
    this.need(length, field);
    const start = this.position;
    const end = start + length;
    this.position = end;
    if (isAscii(this.bytes, start, end)) return this.bytes.toString('latin1', start, end);
    if (!isValidUtf8(this.bytes, start, end)) {
      throw malformed(requirement, `${this.packetName} ${field} is not well-formed UTF-8 without NUL`);
    }
    return this.bytes.toString('utf8', start, end);
  }

  /** Binary Data, copied out of the chunk. */
  binary(field: string): Buffer {
    const length = this.twoByteInteger(field);
    this.need(length, field);
    const start = this.position;
    this.position += length;
    return Buffer.from(this.bytes.subarray(start, this.position));
  }

  /** Fails when anything is left over. */
  finish(requirement: string): void {
    if (this.position === this.end) return;
    throw malformed(requirement, `${this.packetName} has ${this.end - this.position} bytes after its last field`);
  }

  private need(count: number, field: string): void {
    if (this.position + count > this.end) throw this.cutShort(field);
  }

  private cutShort(field: string): Error {
    return malformed('v5 §1.2', `${this.packetName} ${field} is cut short`);
  }
}
