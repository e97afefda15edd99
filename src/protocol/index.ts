/** What other modules may use of the protocol. */
export { connectVersion, decodeConnect } from './connect-decoder.js';
export { decodeBody } from './decoder.js';
export { encodeAcknowledge, encodePacket } from './encoder.js';
export { FieldReader } from './field-reader.js';
export { FieldWriter } from './field-writer.js';
export { type Handling, IN_MEMORY, Message, type MessageSource, type NewMessage, PRIORITY_DEFAULT } from './message.js';
export { messageRecordBytes, readMessageRecord, writeMessageRecord } from './message-record.js';
export * from './packet.js';
export { PacketReader } from './packet-reader.js';
export type { PropertyDefinition, PropertyPlace, PropertyType } from './properties.js';
export {
  decodeProperties,
  encodeProperties,
  encodePublishProperties,
  placeName,
  propertiesLength,
  propertyAllowed,
  propertyDefinition,
  propertyTable,
  readProperties,
  willProperties,
  writeProperties,
} from './properties.js';
export * from './protocol-failure.js';
export { PublishRun } from './publish-run.js';
export { PublishView } from './publish-view.js';
export * from './reason-code.js';
export type { Role } from './reason-code-sets.js';
export { reasonCodeAllowed } from './reason-code-sets.js';
export * from './topic.js';
export { isAscii, isValidUtf8 } from './utf8.js';
export * from './v3/return-code.js';
export * from './variable-byte-integer.js';
