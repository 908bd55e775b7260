import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import org.apache.kafka.common.TopicIdPartition;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.server.share.dlq.ShareGroupDLQManager;
import org.apache.kafka.server.share.dlq.ShareGroupDLQRecordParameter;
import org.apache.kafka.server.share.dlq.ShareGroupDLQStateManager;

/** The headers that the broker gives to a record which a share group's member has rejected. */
final class Share {
    public static void main(String[] folder) throws Exception {
        var order = new TopicIdPartition(Uuid.randomUuid(), 3, "orders");
        var rejected = new ShareGroupDLQRecordParameter(
            "reserving", order, 20715, 20715, Optional.of((short) 5), Optional.of(ShareGroupDLQManager.DELIVERY_COUNT_EXCEEDED));
        Class<?> handler = Class.forName(ShareGroupDLQStateManager.class.getName() + "$ProduceRequestHandler");
        var constructor = handler.getDeclaredConstructor(ShareGroupDLQStateManager.class,
            ShareGroupDLQRecordParameter.class, CompletableFuture.class, long.class, long.class, int.class);
        constructor.setAccessible(true);
        var headers = handler.getDeclaredMethod("headers", long.class);
        headers.setAccessible(true);
        Object writing = constructor.newInstance(null, rejected, new CompletableFuture<Void>(), 1L, 1L, 1);
        Written.keep(folder[0], "share-group", "org.apache.kafka:kafka-server:4.4.0", "dlq.reserving",
            Written.SENT + 60_000, new RecordHeaders((Header[]) headers.invoke(writing, 20715L)));
    }
}
