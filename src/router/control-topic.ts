/** Topics by which the broker is administered, as in Mosquitto. */
const PREFIX = '$CONTROL/';

export const isControlTopic = (topicName: string): boolean => topicName.startsWith(PREFIX);
