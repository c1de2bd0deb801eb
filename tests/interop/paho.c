/* A device on the C library of Eclipse Paho: connects with a token, publishes once, disconnects.
 *
 *   paho PORT VERSION CLIENT_ID TOKEN_FILE TOPIC
 *
 * Prints one word, and a code when there is one: "published", "refused 135", "publish 135".
 */
#include <MQTTClient.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char token[8192];

static int read_token(const char *path)
{
	FILE *file = fopen(path, "r");
	if (!file) return -1;
	size_t length = fread(token, 1, sizeof token - 1, file);
	fclose(file);
	token[length] = '\0';
	return length > 0 ? 0 : -1;
}

static int run(MQTTClient client, int version, const char *topic)
{
	MQTTClient_connectOptions options = MQTTClient_connectOptions_initializer;
	MQTTClient_connectOptions options5 = MQTTClient_connectOptions_initializer5;
	MQTTClient_message message = MQTTClient_message_initializer;
	MQTTClient_deliveryToken delivered;
	MQTTResponse response;
	int code;

	message.payload = "{\"metrics\":{\"temperature\":21.5}}";
	message.payloadlen = (int)strlen(message.payload);
	message.qos = 1;
	if (version == 5) {
		options5.username = "";
		options5.password = token;
		options5.MQTTVersion = MQTTVERSION_5;
		response = MQTTClient_connect5(client, &options5, NULL, NULL);
		code = response.reasonCode;
		MQTTResponse_free(response);
	} else {
		options.username = "";
		options.password = token;
		options.MQTTVersion = MQTTVERSION_3_1_1;
		code = MQTTClient_connect(client, &options);
	}
	if (code != MQTTCLIENT_SUCCESS) {
		printf("refused %d\n", code);
		return 1;
	}
	if (version == 5) {
		response = MQTTClient_publishMessage5(client, topic, &message, &delivered);
		code = response.reasonCode;
		MQTTResponse_free(response);
	} else {
		code = MQTTClient_publishMessage(client, topic, &message, &delivered);
	}
	if (code == MQTTCLIENT_SUCCESS) code = MQTTClient_waitForCompletion(client, delivered, 10000);
	if (code != MQTTCLIENT_SUCCESS) {
		printf("publish %d\n", code);
		return 1;
	}
	if (version == 5)
		MQTTClient_disconnect5(client, 1000, MQTTREASONCODE_SUCCESS, NULL);
	else
		MQTTClient_disconnect(client, 1000);
	printf("published\n");
	return 0;
}

int main(int argc, char **argv)
{
	char address[64];
	MQTTClient client;
	MQTTClient_createOptions create = MQTTClient_createOptions_initializer;
	int failed, version;

	if (argc != 6 || read_token(argv[4]) != 0) return 2;
	version = atoi(argv[2]);
	create.MQTTVersion = version == 5 ? MQTTVERSION_5 : MQTTVERSION_3_1_1;
	snprintf(address, sizeof address, "tcp://127.0.0.1:%s", argv[1]);
	if (MQTTClient_createWithOptions(&client, address, argv[3], MQTTCLIENT_PERSISTENCE_NONE, NULL, &create)
			!= MQTTCLIENT_SUCCESS)
		return 2;
	failed = run(client, version, argv[5]);
	MQTTClient_destroy(&client);
	return failed;
}
