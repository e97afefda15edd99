/*
 * What the Paho C client does with the broker: QoS 0, 1 and 2, retained messages, the will, a resumed session, a shared
 * subscription. Prints a line for everything it sees, `step topic qos retain payload` or `step key value`; the test compares
 * them. Exit code 1 and a line on standard error when a call fails or a message does not come.
 *
 *   scenario URI VERSION PREFIX        VERSION: 4 or 5; PREFIX begins every topic and client identifier
 */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "MQTTClient.h"

#define PATIENCE_MS 20000

static const char *uri;
static const char *prefix;
static int version;

static void fail(const char *what, int code) {
  fprintf(stderr, "%s: %d\n", what, code);
  exit(1);
}

static void expect(const char *what, int code) {
  if (code != MQTTCLIENT_SUCCESS) fail(what, code);
}

/* Formatted text, never freed: the program is short. */
static const char *text(const char *format, ...) {
  char *made;
  va_list arguments;
  va_start(arguments, format);
  if (vasprintf(&made, format, arguments) < 0) fail("vasprintf", -1);
  va_end(arguments);
  return made;
}

struct joining {
  const char *name;
  int kept;         /* the session outlives the connection */
  const char *will; /* topic, or NULL */
};

/* Connects; prints whether a session was there when `report` is given. Of 5.0 this client does not tell. */
static MQTTClient join(struct joining who, const char *report) {
  MQTTClient client;
  MQTTClient_createOptions create = MQTTClient_createOptions_initializer;
  create.MQTTVersion = version == 5 ? MQTTVERSION_5 : MQTTVERSION_3_1_1;
  expect("create", MQTTClient_createWithOptions(&client, uri, text("%s-%s", prefix, who.name),
                                                MQTTCLIENT_PERSISTENCE_NONE, NULL, &create));
  MQTTClient_connectOptions v4 = MQTTClient_connectOptions_initializer;
  MQTTClient_connectOptions v5 = MQTTClient_connectOptions_initializer5;
  MQTTClient_connectOptions options = version == 5 ? v5 : v4;
  options.MQTTVersion = create.MQTTVersion;
  MQTTClient_willOptions will = MQTTClient_willOptions_initializer;
  if (who.will != NULL) {
    will.topicName = who.will;
    will.message = "gone";
    will.qos = 1;
    options.will = &will;
  }
  if (version == 5) {
    options.cleanstart = !who.kept;
    MQTTProperties properties = MQTTProperties_initializer;
    if (who.kept) {
      MQTTProperty expiry = {.identifier = MQTTPROPERTY_CODE_SESSION_EXPIRY_INTERVAL, .value.integer4 = 600};
      MQTTProperties_add(&properties, &expiry);
    }
    MQTTResponse response = MQTTClient_connect5(client, &options, &properties, NULL);
    expect("connect", response.reasonCode);
    MQTTResponse_free(response);
    MQTTProperties_free(&properties);
  } else {
    options.cleansession = !who.kept;
    expect("connect", MQTTClient_connect(client, &options));
  }
  if (report != NULL && version == 4) printf("%s sessionPresent %d\n", report, options.returned.sessionPresent);
  return client;
}

static void leave(MQTTClient client) {
  if (version == 5)
    expect("disconnect", MQTTClient_disconnect5(client, 1000, MQTTREASONCODE_NORMAL_DISCONNECTION, NULL));
  else
    expect("disconnect", MQTTClient_disconnect(client, 1000));
  MQTTClient_destroy(&client);
}

static void subscribe(MQTTClient client, const char *filter, int qos) {
  if (version == 5) {
    MQTTResponse response = MQTTClient_subscribe5(client, filter, qos, NULL, NULL);
    if ((int)response.reasonCode != qos) fail("granted QoS", response.reasonCode);
    MQTTResponse_free(response);
  } else
    expect("subscribe", MQTTClient_subscribe(client, filter, qos));
}

static void publish(MQTTClient client, const char *topic, const char *payload, int qos, int retained) {
  MQTTClient_deliveryToken token;
  if (version == 5) {
    MQTTResponse response = MQTTClient_publish5(client, topic, (int)strlen(payload), payload, qos, retained, NULL, &token);
    expect("publish", response.reasonCode);
    MQTTResponse_free(response);
  } else
    expect("publish", MQTTClient_publish(client, topic, (int)strlen(payload), payload, qos, retained, &token));
  if (qos > 0) expect("acknowledgement", MQTTClient_waitForCompletion(client, token, PATIENCE_MS));
}

/* Receives one message and prints it; returns 0 when none comes in time. */
static int receive(MQTTClient client, const char *step, unsigned long patience_ms) {
  char *topic = NULL;
  int length = 0;
  MQTTClient_message *message = NULL;
  int code = MQTTClient_receive(client, &topic, &length, &message, patience_ms);
  if (code != MQTTCLIENT_SUCCESS && code != MQTTCLIENT_TOPICNAME_TRUNCATED) fail("receive", code);
  if (message == NULL) return 0;
  printf("%s %s %d %d %.*s\n", step, topic, message->qos, message->retained, message->payloadlen,
         (char *)message->payload);
  MQTTClient_freeMessage(&message);
  MQTTClient_free(topic);
  return 1;
}

static void receive_count(MQTTClient client, const char *step, int count) {
  for (int index = 0; index < count; index++)
    if (!receive(client, step, PATIENCE_MS)) fail(step, index);
}

static void qos_levels(MQTTClient publisher) {
  for (int qos = 0; qos <= 2; qos++) {
    const char *step = text("qos%d", qos);
    MQTTClient client = join((struct joining){.name = step}, NULL);
    subscribe(client, text("%s/%s/+", prefix, step), 2);
    for (int number = 0; number < 10; number++)
      publish(publisher, text("%s/%s/n", prefix, step), text("%d", number), qos, 0);
    receive_count(client, step, 10);
    leave(client);
  }
}

static void retained(MQTTClient publisher) {
  const char *topic = text("%s/kept", prefix);
  publish(publisher, topic, "old", 1, 1);
  publish(publisher, topic, "new", 1, 1);
  MQTTClient client = join((struct joining){.name = "kept"}, NULL);
  subscribe(client, text("%s/#", topic), 1);
  receive_count(client, "retained", 1);
  publish(publisher, topic, "live", 1, 1);
  publish(publisher, topic, "", 1, 1);
  receive_count(client, "retained", 2);
  leave(client);
  client = join((struct joining){.name = "cleared"}, NULL);
  subscribe(client, text("%s/#", topic), 1);
  publish(publisher, topic, "marker", 1, 0);
  receive_count(client, "cleared", 1);
  leave(client);
}

/* The client with the will is a process of its own that just ends: the system closes its connection. */
static void will(MQTTClient publisher) {
  MQTTClient heir = join((struct joining){.name = "heir"}, NULL);
  subscribe(heir, text("%s/will/#", prefix), 1);
  MQTTClient polite = join((struct joining){.name = "polite", .will = text("%s/will/polite", prefix)}, NULL);
  leave(polite);
  fflush(NULL);
  pid_t child = fork();
  if (child == 0) {
    join((struct joining){.name = "lost", .will = text("%s/will/lost", prefix)}, NULL);
    _exit(0);
  }
  int status;
  waitpid(child, &status, 0);
  if (status != 0) fail("client with a will", status);
  receive_count(heir, "will", 1);
  publish(publisher, text("%s/will/end", prefix), "end", 1, 0);
  receive_count(heir, "will", 1);
  leave(heir);
}

static void resume(MQTTClient publisher) {
  MQTTClient client = join((struct joining){.name = "stay", .kept = 1}, "first");
  subscribe(client, text("%s/stay/+", prefix), 2);
  leave(client);
  publish(publisher, text("%s/stay/a", prefix), "not kept", 0, 0);
  publish(publisher, text("%s/stay/a", prefix), "one", 1, 0);
  publish(publisher, text("%s/stay/b", prefix), "two", 1, 0);
  publish(publisher, text("%s/stay/a", prefix), "three", 2, 0);
  client = join((struct joining){.name = "stay", .kept = 1}, "second");
  receive_count(client, "resumed", 3);
  leave(client);
  client = join((struct joining){.name = "stay"}, "third");
  leave(client);
}

static void shared(MQTTClient publisher) {
  MQTTClient members[2];
  const char *filter = text("$share/%s/%s/job/#", prefix, prefix);
  for (int index = 0; index < 2; index++) {
    members[index] = join((struct joining){.name = index == 0 ? "m0" : "m1"}, NULL);
    subscribe(members[index], filter, 1);
  }
  for (int number = 0; number < 10; number++)
    publish(publisher, text("%s/job/%d", prefix, number), text("%d", number), 1, 0);
  /* round robin: five each */
  for (int index = 0; index < 2; index++) receive_count(members[index], text("member%d", index), 5);
  for (int index = 0; index < 2; index++) leave(members[index]);
}

int main(int count, char **arguments) {
  if (count != 4) {
    fprintf(stderr, "usage: scenario URI VERSION PREFIX\n");
    return 2;
  }
  uri = arguments[1];
  version = atoi(arguments[2]);
  prefix = arguments[3];
  MQTTClient publisher = join((struct joining){.name = "publisher"}, NULL);
  qos_levels(publisher);
  retained(publisher);
  will(publisher);
  resume(publisher);
  shared(publisher);
  leave(publisher);
  printf("done\n");
  return 0;
}
