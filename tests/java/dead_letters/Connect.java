import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.Callback;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.connect.errors.DataException;
import org.apache.kafka.connect.json.JsonConverter;
import org.apache.kafka.connect.runtime.ConnectMetrics;
import org.apache.kafka.connect.runtime.SinkConnectorConfig;
import org.apache.kafka.connect.runtime.errors.DeadLetterQueueReporter;
import org.apache.kafka.connect.runtime.errors.ErrorHandlingMetrics;
import org.apache.kafka.connect.runtime.errors.ProcessingContext;
import org.apache.kafka.connect.runtime.errors.Stage;
import org.apache.kafka.connect.runtime.isolation.Plugins;
import org.apache.kafka.connect.runtime.standalone.StandaloneConfig;
import org.apache.kafka.connect.util.ConnectorTaskId;

/** What Kafka Connect's reporter hands to its producer; no broker is asked. */
final class Connect {
    public static void main(String[] folder) throws Exception {
        Map<String, String> settings = Map.of(
            "name", "orders-to-warehouse", "connector.class", "Sink", "topics", "orders",
            "errors.deadletterqueue.topic.name", "orders-dlq",
            "errors.deadletterqueue.context.headers.enable", "true");
        Map<String, Object> producer = Map.of("bootstrap.servers", "127.0.0.1:1");
        ProducerRecord<?, ?>[] written = new ProducerRecord<?, ?>[1];
        var listening = new KafkaProducer<byte[], byte[]>(
            producer, new ByteArraySerializer(), new ByteArraySerializer()) {
            @Override
            public Future<RecordMetadata> send(ProducerRecord<byte[], byte[]> record, Callback callback) {
                written[0] = record;
                return CompletableFuture.completedFuture(null);
            }
        };
        var task = new ConnectorTaskId("orders-to-warehouse", 2);
        var metrics = new ConnectMetrics("worker", new StandaloneConfig(Map.of(
            "bootstrap.servers", "127.0.0.1:1", "offset.storage.file.filename", "unused",
            "key.converter", "org.apache.kafka.connect.json.JsonConverter",
            "value.converter", "org.apache.kafka.connect.json.JsonConverter")), Time.SYSTEM, "cluster");
        var constructor = DeadLetterQueueReporter.class.getDeclaredConstructor(
            KafkaProducer.class, SinkConnectorConfig.class, ConnectorTaskId.class, ErrorHandlingMetrics.class);
        constructor.setAccessible(true);
        var reporter = constructor.newInstance(
            listening, new SinkConnectorConfig(new Plugins(Map.of()), settings),
            task, new ErrorHandlingMetrics(task, metrics));
        var context = new ProcessingContext<ConsumerRecord<byte[], byte[]>>(Written.order());
        context.currentContext(Stage.VALUE_CONVERTER, JsonConverter.class);
        context.error(new DataException("Converting byte[] to Kafka Connect data failed", Written.failure("no schema")));
        reporter.report(context);
        Written.keep(folder[0], "kafka-connect", "org.apache.kafka:connect-runtime:4.1.0", written[0]);
        System.exit(0);
    }
}
