import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Base64;
import java.util.StringJoiner;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.record.TimestampType;

/** One dead letter as its framework wrote it, kept as JSON with its header values in base64. */
final class Written {
    static final long SENT = 1790000000123L;

    private Written() {}

    /** The order that fails, with the two headers that its producer gave it. */
    static ConsumerRecord<byte[], byte[]> order() {
        Headers headers = new RecordHeaders()
            .add("event_type", "order.placed".getBytes(StandardCharsets.UTF_8))
            .add("correlation_id", "order-1042".getBytes(StandardCharsets.UTF_8));
        return read("orders", 3, 20715, SENT, headers);
    }

    static ConsumerRecord<byte[], byte[]> read(String topic, int partition, long offset, long time, Headers headers) {
        return new ConsumerRecord<>(topic, partition, offset, time, TimestampType.CREATE_TIME, -1, -1,
            "order-1042".getBytes(StandardCharsets.UTF_8),
            "{\"order_id\":\"order-1042\"}".getBytes(StandardCharsets.UTF_8), headers, java.util.Optional.empty());
    }

    /** The exception of every corpus entry: a class of the JDK with another one as its cause. */
    static RuntimeException failure(String message) {
        return new IllegalStateException(message, new java.io.IOException("connection refused"));
    }

    static void keep(String folder, String name, String from, ProducerRecord<?, ?> record) throws Exception {
        keep(folder, name, from, record.topic(), record.timestamp(), record.headers());
    }

    static void keep(String folder, String name, String from, String topic, Long time, Headers headers)
        throws Exception {
        StringJoiner rows = new StringJoiner(",\n    ");
        for (Header header : headers) {
            String value = header.value() == null
                ? "null" : "\"" + Base64.getEncoder().encodeToString(header.value()) + "\"";
            rows.add("[\"" + header.key() + "\", " + value + "]");
        }
        String json = "{\n  \"from\": \"captured from " + from + "\",\n  \"stream\": \"" + topic
            + "\",\n  \"timestamp\": " + time + ",\n  \"headers\": [\n    " + rows + "\n  ]\n}\n";
        Files.writeString(Path.of(folder, name + ".json"), json);
    }
}
