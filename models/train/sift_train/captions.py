"""What people would type for each label of the corpus.

Every label has a noun phrase, from which templates make captions, phrasings of its own, and phrasings that are never
trained on: the evaluation's measure of how well the network understands words that it has not seen.
"""

MUSIC = "music"
"""Not a label of the corpus: several instruments together."""

TEMPLATES = ("{label}", "{noun}", "the sound of {noun}", "{label} sounds", "a recording of {noun}")

# label: (noun phrase, phrasings that are trained, phrasings that are held out)
_PHRASES = {
    "acoustic guitar": (
        "an acoustic guitar",
        ["guitar", "a guitar", "someone playing an acoustic guitar", "a steel-string guitar", "fingerpicked guitar",
         "guitar strumming"],
        ["an unplugged guitar", "a folk guitar being strummed"],
    ),
    "airplane": (
        "an airplane",
        ["a plane flying overhead", "an aircraft", "a jet engine", "an airplane passing by"],
        ["a jet taking off", "aeroplane noise"],
    ),
    "alarm": (
        "an alarm",
        ["an alarm going off", "a ringing alarm", "an alarm clock", "a warning alarm"],
        ["a wake-up alarm", "a blaring alarm signal"],
    ),
    "baby crying": (
        "a baby crying",
        ["a crying baby", "an infant wailing", "a newborn crying", "a child crying"],
        ["a wailing infant", "a baby's cries"],
    ),
    "bass guitar": (
        "a bass guitar",
        ["bass", "the bass", "an electric bass", "a bass line", "someone playing the bass", "low bass notes"],
        ["the bassist", "a bass guitar riff"],
    ),
    "beeping": (
        "beeping",
        ["a beep", "electronic beeps", "a beeping machine", "a series of beeps"],
        ["a device going beep", "electronic bleeps"],
    ),
    "bees buzzing": (
        "bees buzzing",
        ["buzzing bees", "a beehive", "a swarm of bees", "insects buzzing"],
        ["the hum of a hive", "a buzzing insect swarm"],
    ),
    "bell": (
        "a bell",
        ["a ringing bell", "a bell ringing", "church bells", "a bell being struck"],
        ["the toll of a bell", "bells chiming"],
    ),
    "birds chirping": (
        "birds chirping",
        ["birds", "birdsong", "a bird singing", "chirping birds", "birds tweeting"],
        ["songbirds", "the twitter of birds"],
    ),
    "boiling water": (
        "boiling water",
        ["water boiling", "a boiling kettle", "water bubbling in a pot", "a pot on the boil"],
        ["a simmering pot", "water coming to a boil"],
    ),
    "brass": (
        "a brass section",
        ["brass instruments", "horns", "a horn section", "people playing brass instruments"],
        ["a brass band", "the horns of an orchestra"],
    ),
    "bubbles": (
        "bubbles",
        ["bubbling", "bubbling water", "air bubbles in water", "bubbles popping"],
        ["gurgling bubbles", "bubbles rising in a liquid"],
    ),
    "cat purring": (
        "a cat purring",
        ["a purring cat", "a cat", "a happy cat purring", "the purr of a cat"],
        ["a kitten's purr", "a contented cat"],
    ),
    "cello": (
        "a cello",
        ["someone playing the cello", "cello music", "a cello solo", "a bowed cello"],
        ["a cellist", "a cello melody"],
    ),
    "chainsaw": (
        "a chainsaw",
        ["a chainsaw running", "someone cutting wood with a chainsaw", "a saw engine", "a chainsaw motor"],
        ["a power saw", "a lumberjack's chainsaw"],
    ),
    "choir": (
        "a choir",
        ["a choir singing", "people singing together", "choral singing", "voices singing aah"],
        ["a chorus of singers", "choral voices"],
    ),
    "clarinet": (
        "a clarinet",
        ["someone playing the clarinet", "clarinet music", "a clarinet solo", "a clarinet melody"],
        ["a clarinettist", "the tune of a clarinet"],
    ),
    "clock ticking": (
        "a clock ticking",
        ["a ticking clock", "a clock", "the tick tock of a clock", "a wristwatch ticking"],
        ["tick-tock", "the ticking of a watch"],
    ),
    "construction site": (
        "a construction site",
        ["construction noise", "building work", "construction machines", "hammering and drilling"],
        ["workers building a house", "heavy machinery on a building site"],
    ),
    "cow mooing": (
        "a cow mooing",
        ["a mooing cow", "a cow", "cows", "cattle mooing"],
        ["the moo of a cow", "cattle lowing"],
    ),
    "crackling fire": (
        "a crackling fire",
        ["a fire", "a fire crackling", "a campfire", "a fireplace", "burning wood"],
        ["a bonfire", "flames crackling"],
    ),
    "crickets": (
        "crickets",
        ["crickets chirping", "chirping crickets", "insects at night", "a cricket"],
        ["cicadas and crickets", "the chirp of a cricket"],
    ),
    "crow cawing": (
        "a crow cawing",
        ["a crow", "a cawing crow", "crows calling", "a raven"],
        ["the caw of a crow", "ravens croaking"],
    ),
    "crowd chatter": (
        "crowd chatter",
        ["a crowd", "people chatting", "a crowd of people talking", "background chatter", "a crowded room",
         "babble of many voices"],
        ["a busy restaurant", "the murmur of a crowd"],
    ),
    "distorted guitar": (
        "a distorted guitar",
        ["guitar", "a guitar", "a distorted electric guitar", "a heavy metal guitar", "a guitar with distortion",
         "a rock guitar"],
        ["an overdriven guitar", "a fuzzy guitar riff"],
    ),
    "dog barking": (
        "a dog barking",
        ["a dog", "dogs barking", "a barking dog", "a dog's bark", "the bark of a dog"],
        ["a puppy barking", "a hound barking loudly"],
    ),
    "door": (
        "a door",
        ["a door opening", "a door closing", "a creaking door", "a door being shut"],
        ["a slamming door", "someone closing a door"],
    ),
    "drums": (
        "drums",
        ["a drum kit", "the drums", "a drummer", "someone playing the drums", "a drum beat", "percussion"],
        ["a drum set", "a drum groove"],
    ),
    "electric guitar": (
        "an electric guitar",
        ["guitar", "a guitar", "someone playing an electric guitar", "a clean electric guitar", "a guitar solo",
         "an amplified guitar"],
        ["a guitarist playing through an amplifier", "an electric guitar lick"],
    ),
    "electric piano": (
        "an electric piano",
        ["a Rhodes piano", "keyboards", "someone playing an electric piano", "an electric keyboard"],
        ["a Fender Rhodes", "a Wurlitzer electric piano"],
    ),
    "explosion": (
        "an explosion",
        ["something exploding", "a blast", "a bomb going off", "a loud bang"],
        ["a detonation", "a big boom"],
    ),
    "fan": (
        "a fan",
        ["a fan running", "an electric fan", "a ventilator", "a spinning fan"],
        ["a cooling fan", "the whir of a ceiling fan"],
    ),
    "finger snapping": (
        "finger snapping",
        ["fingers snapping", "finger snaps", "someone snapping their fingers", "a snap of the fingers"],
        ["finger clicks", "a person clicking their fingers"],
    ),
    "fireworks": (
        "fireworks",
        ["fireworks exploding", "a firework", "firecrackers", "a fireworks display"],
        ["rockets bursting in the sky", "pyrotechnics"],
    ),
    "flute": (
        "a flute",
        ["someone playing the flute", "flute music", "a flute solo", "a flute melody"],
        ["a flautist", "a wooden flute"],
    ),
    "footsteps": (
        "footsteps",
        ["someone walking", "a person walking", "steps", "footsteps on the ground", "walking feet"],
        ["people walking by", "the steps of somebody in shoes"],
    ),
    "frogs croaking": (
        "frogs croaking",
        ["frogs", "a frog", "croaking frogs", "a frog croaking"],
        ["toads croaking", "a frog's ribbit"],
    ),
    "glass breaking": (
        "glass breaking",
        ["breaking glass", "shattering glass", "a window breaking", "a glass being smashed"],
        ["a bottle shattering", "a smashed window"],
    ),
    "hair dryer": (
        "a hair dryer",
        ["a hair dryer running", "a blow dryer", "someone drying their hair", "a hand-held dryer"],
        ["a hairdryer blowing air", "the noise of a blow-dryer"],
    ),
    "hand clapping": (
        "hand clapping",
        ["hand claps", "clapping", "someone clapping their hands", "clapping hands", "a clap"],
        ["rhythmic claps", "a person clapping"],
    ),
    "harp": (
        "a harp",
        ["someone playing the harp", "harp music", "a plucked harp", "harp strings"],
        ["a harpist", "a harp glissando"],
    ),
    "helicopter": (
        "a helicopter",
        ["a helicopter flying", "helicopter rotors", "a chopper", "a hovering helicopter"],
        ["spinning rotor blades", "a chopper flying by"],
    ),
    "horse galloping": (
        "a horse galloping",
        ["a galloping horse", "a horse", "hooves", "a horse running"],
        ["hoofbeats", "a horse trotting past"],
    ),
    "jungle ambience": (
        "a jungle",
        ["jungle noises", "a rainforest", "animals in the jungle", "a tropical forest"],
        ["rainforest ambience", "wildlife in a tropical jungle"],
    ),
    "keyboard typing": (
        "keyboard typing",
        ["someone typing on a keyboard", "a computer keyboard", "typing", "keys being pressed on a computer"],
        ["a person typing on a laptop", "keyboard clicks"],
    ),
    "kitchen": (
        "a kitchen",
        ["dishes clattering", "kitchen noise", "people in a kitchen", "pots and pans"],
        ["somebody cooking", "clattering cutlery"],
    ),
    "marimba": (
        "a marimba",
        ["a xylophone", "mallet percussion", "someone playing the marimba", "marimba music"],
        ["wooden bars struck by mallets", "a marimba melody"],
    ),
    "noise": (
        "noise",
        ["white noise", "static noise", "a steady hiss", "broadband noise"],
        ["pink noise", "a constant rushing hiss"],
    ),
    "organ": (
        "an organ",
        ["a church organ", "a pipe organ", "someone playing the organ", "organ music"],
        ["an organist", "a Hammond organ"],
    ),
    "owl hooting": (
        "an owl hooting",
        ["an owl", "a hooting owl", "owls calling", "the hoot of an owl"],
        ["an owl at night", "hoo hoo of an owl"],
    ),
    "paper rustling": (
        "paper rustling",
        ["rustling paper", "paper being crumpled", "turning pages", "someone handling paper"],
        ["crinkling paper", "pages of a book being flipped"],
    ),
    "piano": (
        "a piano",
        ["the piano", "someone playing the piano", "piano music", "a grand piano", "piano notes"],
        ["a pianist", "a piano melody"],
    ),
    "projector": (
        "a projector",
        ["a film projector", "an old movie projector", "a projector running", "a rattling projector"],
        ["a cinema projector", "a reel of film running"],
    ),
    "radio static": (
        "radio static",
        ["static from a radio", "radio noise", "a radio between stations", "radio interference"],
        ["an untuned radio", "shortwave static"],
    ),
    "rain": (
        "rain",
        ["the rain", "rain falling", "rainfall", "heavy rain", "rain on a roof", "a rainy day"],
        ["a downpour", "raindrops hitting a window"],
    ),
    "rooster crowing": (
        "a rooster crowing",
        ["a rooster", "a crowing rooster", "a cock crowing", "a chicken"],
        ["a cockerel's crow", "cock-a-doodle-doo"],
    ),
    "rowing": (
        "rowing",
        ["someone rowing a boat", "oars in the water", "a rowing boat", "paddling"],
        ["a person paddling a canoe", "oar strokes"],
    ),
    "saxophone": (
        "a saxophone",
        ["a sax", "someone playing the saxophone", "saxophone music", "a saxophone solo"],
        ["a saxophonist", "a jazzy sax"],
    ),
    "sea waves": (
        "sea waves",
        ["waves", "ocean waves", "the sea", "waves crashing on the beach", "the ocean"],
        ["the surf", "waves breaking on the shore"],
    ),
    "seagulls": (
        "seagulls",
        ["gulls", "seagulls calling", "a seagull", "gulls screeching"],
        ["sea birds crying", "a gull's call"],
    ),
    "sheep bleating": (
        "a sheep bleating",
        ["sheep", "a sheep", "bleating sheep", "a lamb"],
        ["a goat or sheep going baa", "a flock of sheep"],
    ),
    "siren": (
        "a siren",
        ["an ambulance siren", "a police siren", "an emergency vehicle", "a wailing siren"],
        ["a fire engine's siren", "an ambulance driving by"],
    ),
    "sneezing": (
        "sneezing",
        ["a sneeze", "someone sneezing", "a person sneezing", "a man sneezing"],
        ["achoo", "a loud sneeze"],
    ),
    "speech": (
        "a person speaking",
        ["a person talking", "someone speaking", "someone talking", "a man speaking", "a woman speaking",
         "a man talking", "a woman talking", "a human voice", "someone's voice", "the voice", "a speaking voice",
         "spoken words", "talking", "a voice", "the speaker", "human speech"],
        ["a narrator", "somebody saying something", "people having a conversation", "dialogue", "a voice-over"],
    ),
    "stomping": (
        "stomping",
        ["feet stomping", "foot stomps", "someone stomping their feet", "a stomp on the floor"],
        ["stamping feet", "a foot hitting the floor"],
    ),
    "stream": (
        "a stream",
        ["a river", "flowing water", "running water", "a babbling brook", "water flowing in a stream"],
        ["a creek", "a trickling brook"],
    ),
    "strings": (
        "strings",
        ["a string section", "a string ensemble", "orchestral strings", "violins and cellos", "a string orchestra"],
        ["bowed strings", "a string quartet"],
    ),
    "synthesizer": (
        "a synthesizer",
        ["a synth", "an electronic synthesizer", "a synth lead", "synth music", "a synth pad"],
        ["electronic keyboards", "an analogue synth"],
    ),
    "thunder": (
        "thunder",
        ["a thunderstorm", "rumbling thunder", "a clap of thunder", "thunder and lightning"],
        ["a rolling thunderclap", "a storm rumbling in the distance"],
    ),
    "traffic": (
        "traffic",
        ["cars", "cars passing by", "road traffic", "a busy street", "vehicles on a road"],
        ["a highway", "car engines on a street"],
    ),
    "train": (
        "a train",
        ["a train passing by", "a railway", "a train on the tracks", "a locomotive"],
        ["a subway train", "wheels rattling on rails"],
    ),
    "trumpet": (
        "a trumpet",
        ["someone playing the trumpet", "trumpet music", "a trumpet solo", "a trumpet melody"],
        ["a trumpeter", "a muted trumpet"],
    ),
    "typewriter": (
        "a typewriter",
        ["someone typing on a typewriter", "an old typewriter", "typewriter keys", "a mechanical typewriter"],
        ["the clack of a typewriter", "a writer at a typewriter"],
    ),
    "underwater rumble": (
        "an underwater rumble",
        ["underwater noise", "being under water", "the deep sea", "a low rumble under water"],
        ["submerged rumbling", "the sound inside a submarine"],
    ),
    "vinyl crackle": (
        "vinyl crackle",
        ["a vinyl record", "crackling of an old record", "record noise", "a record player"],
        ["a dusty record", "the crackle of a turntable"],
    ),
    "violin": (
        "a violin",
        ["someone playing the violin", "violin music", "a fiddle", "a violin solo"],
        ["a violinist", "a bowed violin melody"],
    ),
    "washing machine": (
        "a washing machine",
        ["a washing machine running", "laundry in a machine", "a washer", "a spinning washing machine"],
        ["the laundry cycle", "a washer on spin"],
    ),
    "water drops": (
        "water drops",
        ["dripping water", "a dripping tap", "drops of water", "water dripping"],
        ["a leaky faucet", "drip drop"],
    ),
    "water splash": (
        "a water splash",
        ["splashing water", "a splash", "something falling into water", "water splashing"],
        ["a stone thrown into a pond", "somebody splashing in a pool"],
    ),
    "waterfall": (
        "a waterfall",
        ["falling water", "a rushing waterfall", "a big waterfall", "water falling down a cliff"],
        ["cascading water", "rapids and falls"],
    ),
    "whale song": (
        "a whale song",
        ["whales", "a whale", "a whale singing", "whale calls"],
        ["a humpback whale", "singing whales"],
    ),
    "wind": (
        "wind",
        ["the wind", "wind blowing", "a strong wind", "howling wind", "gusts of wind"],
        ["a breeze", "a windstorm"],
    ),
    "wind chimes": (
        "wind chimes",
        ["chimes", "tinkling chimes", "wind chimes ringing", "hanging chimes in the wind"],
        ["tinkling metal tubes", "garden chimes"],
    ),
    "windshield wipers": (
        "windshield wipers",
        ["windscreen wipers", "car wipers", "wipers moving on a windshield", "a wiper swishing"],
        ["the squeak of wiper blades", "wipers on a car window"],
    ),
    "wolf howling": (
        "a wolf howling",
        ["a howling wolf", "wolves", "a wolf", "wolves howling"],
        ["a pack of wolves", "the howl of a wolf"],
    ),
    "woodpecker pecking": (
        "a woodpecker pecking",
        ["a woodpecker", "a woodpecker drumming on a tree", "a bird pecking wood", "pecking on a tree trunk"],
        ["the knocking of a woodpecker", "a beak hammering a tree"],
    ),
    MUSIC: (
        "music",
        ["the music", "instruments", "musical instruments", "a band playing", "background music", "instrumental music",
         "an orchestra", "a song playing"],
        ["a musical accompaniment", "a band with several instruments"],
    ),
}

LABELS = sorted(_PHRASES)


def captions_of(label, part):
    """All captions of a label, for `part` "train" or "held_out", without repetition."""
    noun, trained, held_out = _PHRASES[label]
    if part == "held_out":
        return list(held_out)
    templated = (template.format(label=label, noun=noun) for template in TEMPLATES)
    return list(dict.fromkeys([*templated, *trained]))


def usual_caption(label):
    """The first natural way to say it, as the evaluation asks for a label."""
    return _PHRASES[label][0]


def all_captions(part):
    """All captions of all labels, without repetition (several labels answer to "guitar"), in a fixed order."""
    return list(dict.fromkeys(caption for label in LABELS for caption in captions_of(label, part)))
