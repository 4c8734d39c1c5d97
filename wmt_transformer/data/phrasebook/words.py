"""The words of the built-in phrasebook: nouns, places, adjectives, verbs, times, in three languages.

One word a line, so that a reader of any of the three languages can check it by eye. Every English word has one
sense here and one translation, since a small model can only learn what the source determines. Classes keep the
sentences sensible: a verb names the classes of its objects, an adjective the classes that it fits. Endings,
articles and word order are in `phrasebook_grammar.py`. The tables come first, what reads them at the end.
"""

from __future__ import annotations

from typing import NamedTuple

from wmt_transformer.data.phrasebook.grammar import Adjective, Modal, Noun, Verb, Words

# English singular and plural | German singular, plural, gender (+n: weak masculine, "den Jungen") | French
# singular, plural, gender. People have the same gender in German and French, but for neuter Kind, Mädchen, Baby.
PEOPLE = """
man men | Mann Männer m | homme hommes m
woman women | Frau Frauen f | femme femmes f
boy boys | Junge Jungen mn | garçon garçons m
girl girls | Mädchen Mädchen n | fille filles f
child children | Kind Kinder n | enfant enfants m
father fathers | Vater Väter m | père pères m
mother mothers | Mutter Mütter f | mère mères f
brother brothers | Bruder Brüder m | frère frères m
sister sisters | Schwester Schwestern f | sœur sœurs f
uncle uncles | Onkel Onkel m | oncle oncles m
aunt aunts | Tante Tanten f | tante tantes f
grandfather grandfathers | Großvater Großväter m | grand-père grands-pères m
grandmother grandmothers | Großmutter Großmütter f | grand-mère grands-mères f
neighbor neighbors | Nachbar Nachbarn mn | voisin voisins m
teacher teachers | Lehrer Lehrer m | professeur professeurs m
student students | Student Studenten mn | étudiant étudiants m
doctor doctors | Arzt Ärzte m | médecin médecins m
nurse nurses | Krankenschwester Krankenschwestern f | infirmière infirmières f
colleague colleagues | Kollege Kollegen mn | collègue collègues m
gentleman gentlemen | Herr Herren mn | monsieur messieurs m
lady ladies | Dame Damen f | dame dames f
baker bakers | Bäcker Bäcker m | boulanger boulangers m
farmer farmers | Bauer Bauern mn | paysan paysans m
cook cooks | Koch Köche m | cuisinier cuisiniers m
waitress waitresses | Kellnerin Kellnerinnen f | serveuse serveuses f
actress actresses | Schauspielerin Schauspielerinnen f | actrice actrices f
singer singers | Sängerin Sängerinnen f | chanteuse chanteuses f
painter painters | Maler Maler m | peintre peintres m
lawyer lawyers | Anwalt Anwälte m | avocat avocats m
policeman policemen | Polizist Polizisten mn | policier policiers m
soldier soldiers | Soldat Soldaten mn | soldat soldats m
hero heroes | Held Helden mn | héros héros m
king kings | König Könige m | roi rois m
queen queens | Königin Königinnen f | reine reines f
prince princes | Prinz Prinzen mn | prince princes m
princess princesses | Prinzessin Prinzessinnen f | princesse princesses f
tourist tourists | Tourist Touristen mn | touriste touristes m
journalist journalists | Journalist Journalisten mn | journaliste journalistes m
engineer engineers | Ingenieur Ingenieure m | ingénieur ingénieurs m
guest guests | Gast Gäste m | invité invités m
customer customers | Kunde Kunden mn | client clients m
boss bosses | Chef Chefs m | patron patrons m
baby babies | Baby Babys n | bébé bébés m
"""

ANIMALS = """
dog dogs | Hund Hunde m | chien chiens m
cat cats | Katze Katzen f | chat chats m
horse horses | Pferd Pferde n | cheval chevaux m
cow cows | Kuh Kühe f | vache vaches f
bird birds | Vogel Vögel m | oiseau oiseaux m
mouse mice | Maus Mäuse f | souris souris f
pig pigs | Schwein Schweine n | cochon cochons m
rabbit rabbits | Kaninchen Kaninchen n | lapin lapins m
hamster hamsters | Hamster Hamster m | hamster hamsters m
bear bears | Bär Bären mn | ours ours m
lion lions | Löwe Löwen mn | lion lions m
elephant elephants | Elefant Elefanten mn | éléphant éléphants m
monkey monkeys | Affe Affen mn | singe singes m
fox foxes | Fuchs Füchse m | renard renards m
wolf wolves | Wolf Wölfe m | loup loups m
donkey donkeys | Esel Esel m | âne ânes m
goat goats | Ziege Ziegen f | chèvre chèvres f
owl owls | Eule Eulen f | hibou hiboux m
duck ducks | Ente Enten f | canard canards m
frog frogs | Frosch Frösche m | grenouille grenouilles f
snake snakes | Schlange Schlangen f | serpent serpents m
turtle turtles | Schildkröte Schildkröten f | tortue tortues f
"""

FOODS = """
apple apples | Apfel Äpfel m | pomme pommes f
pear pears | Birne Birnen f | poire poires f
banana bananas | Banane Bananen f | banane bananes f
orange oranges | Orange Orangen f | orange oranges f
lemon lemons | Zitrone Zitronen f | citron citrons m
cherry cherries | Kirsche Kirschen f | cerise cerises f
strawberry strawberries | Erdbeere Erdbeeren f | fraise fraises f
peach peaches | Pfirsich Pfirsiche m | pêche pêches f
tomato tomatoes | Tomate Tomaten f | tomate tomates f
potato potatoes | Kartoffel Kartoffeln f | pomme_de_terre pommes_de_terre f
carrot carrots | Karotte Karotten f | carotte carottes f
onion onions | Zwiebel Zwiebeln f | oignon oignons m
bean beans | Bohne Bohnen f | haricot haricots m
mushroom mushrooms | Pilz Pilze m | champignon champignons m
egg eggs | Ei Eier n | œuf œufs m
cake cakes | Kuchen Kuchen m | gâteau gâteaux m
sandwich sandwiches | Sandwich Sandwiches n | sandwich sandwichs m
sausage sausages | Wurst Würste f | saucisse saucisses f
pizza pizzas | Pizza Pizzen f | pizza pizzas f
cookie cookies | Keks Kekse m | biscuit biscuits m
"""

# Foods and drinks that are not counted: the plural is written, so that every line has one shape, and not used.
# "to eat" and "to drink" ask for different ones.
MASS_FOODS = """
bread - | Brot - n | pain - m
cheese - | Käse - m | fromage - m
meat - | Fleisch - n | viande - f
fish - | Fisch - m | poisson - m
rice - | Reis - m | riz - m
butter - | Butter - f | beurre - m
chocolate - | Schokolade - f | chocolat - m
soup - | Suppe - f | soupe - f
honey - | Honig - m | miel - m
"""
DRINKS = """
water - | Wasser - n | eau - f
milk - | Milch - f | lait - m
coffee - | Kaffee - m | café - m
tea - | Tee - m | thé - m
beer - | Bier - n | bière - f
wine - | Wein - m | vin - m
juice - | Saft - m | jus - m
lemonade - | Limonade - f | limonade - f
"""

TEXTS = """
book books | Buch Bücher n | livre livres m
letter letters | Brief Briefe m | lettre lettres f
newspaper newspapers | Zeitung Zeitungen f | journal journaux m
story stories | Geschichte Geschichten f | histoire histoires f
poem poems | Gedicht Gedichte n | poème poèmes m
novel novels | Roman Romane m | roman romans m
postcard postcards | Postkarte Postkarten f | carte_postale cartes_postales f
magazine magazines | Zeitschrift Zeitschriften f | magazine magazines m
e-mail e-mails | E-Mail E-Mails f | e-mail e-mails m
text texts | Text Texte m | texte textes m
"""

CLOTHES = """
coat coats | Mantel Mäntel m | manteau manteaux m
shirt shirts | Hemd Hemden n | chemise chemises f
dress dresses | Kleid Kleider n | robe robes f
skirt skirts | Rock Röcke m | jupe jupes f
hat hats | Hut Hüte m | chapeau chapeaux m
cap caps | Mütze Mützen f | casquette casquettes f
jacket jackets | Jacke Jacken f | veste vestes f
sweater sweaters | Pullover Pullover m | pull pulls m
shoe shoes | Schuh Schuhe m | chaussure chaussures f
boot boots | Stiefel Stiefel m | botte bottes f
scarf scarves | Schal Schals m | écharpe écharpes f
tie ties | Krawatte Krawatten f | cravate cravates f
ring rings | Ring Ringe m | bague bagues f
suit suits | Anzug Anzüge m | costume costumes m
"""

THINGS = """
key keys | Schlüssel Schlüssel m | clé clés f
cup cups | Tasse Tassen f | tasse tasses f
bottle bottles | Flasche Flaschen f | bouteille bouteilles f
knife knives | Messer Messer n | couteau couteaux m
spoon spoons | Löffel Löffel m | cuillère cuillères f
fork forks | Gabel Gabeln f | fourchette fourchettes f
plate plates | Teller Teller m | assiette assiettes f
bag bags | Tasche Taschen f | sac sacs m
suitcase suitcases | Koffer Koffer m | valise valises f
umbrella umbrellas | Regenschirm Regenschirme m | parapluie parapluies m
lamp lamps | Lampe Lampen f | lampe lampes f
pencil pencils | Bleistift Bleistifte m | crayon crayons m
phone phones | Telefon Telefone n | téléphone téléphones m
camera cameras | Kamera Kameras f | appareil_photo appareils_photo m
picture pictures | Bild Bilder n | tableau tableaux m
photo photos | Foto Fotos n | photo photos f
flower flowers | Blume Blumen f | fleur fleurs f
ball balls | Ball Bälle m | ballon ballons m
toy toys | Spielzeug Spielzeuge n | jouet jouets m
gift gifts | Geschenk Geschenke n | cadeau cadeaux m
candle candles | Kerze Kerzen f | bougie bougies f
mirror mirrors | Spiegel Spiegel m | miroir miroirs m
box boxes | Kiste Kisten f | boîte boîtes f
basket baskets | Korb Körbe m | panier paniers m
guitar guitars | Gitarre Gitarren f | guitare guitares f
computer computers | Computer Computer m | ordinateur ordinateurs m
radio radios | Radio Radios n | radio radios f
tool tools | Werkzeug Werkzeuge n | outil outils m
map maps | Landkarte Landkarten f | carte cartes f
pillow pillows | Kissen Kissen n | oreiller oreillers m
stamp stamps | Briefmarke Briefmarken f | timbre timbres m
watch watches | Uhr Uhren f | montre montres f
"""

VEHICLES = """
car cars | Auto Autos n | voiture voitures f
bus buses | Bus Busse m | bus bus m
train trains | Zug Züge m | train trains m
bicycle bicycles | Fahrrad Fahrräder n | vélo vélos m
ship ships | Schiff Schiffe n | bateau bateaux m
plane planes | Flugzeug Flugzeuge n | avion avions m
truck trucks | Lastwagen Lastwagen m | camion camions m
taxi taxis | Taxi Taxis n | taxi taxis m
motorcycle motorcycles | Motorrad Motorräder n | moto motos f
"""

FURNITURE = """
table tables | Tisch Tische m | table tables f
chair chairs | Stuhl Stühle m | chaise chaises f
bed beds | Bett Betten n | lit lits m
cupboard cupboards | Schrank Schränke m | armoire armoires f
shelf shelves | Regal Regale n | étagère étagères f
sofa sofas | Sofa Sofas n | canapé canapés m
armchair armchairs | Sessel Sessel m | fauteuil fauteuils m
bench benches | Bank Bänke f | banc bancs m
carpet carpets | Teppich Teppiche m | tapis tapis m
"""

# Places add their prepositions: English "at" and "to" | German at (dative) and to | French, for both.
PLACES = """
garden gardens | Garten Gärten m | jardin jardins m | in into | in in+A | dans
kitchen kitchens | Küche Küchen f | cuisine cuisines f | in into | in in+A | dans
house houses | Haus Häuser n | maison maisons f | in into | in in+A | dans
bedroom bedrooms | Schlafzimmer Schlafzimmer n | chambre chambres f | in into | in in+A | dans
living_room living_rooms | Wohnzimmer Wohnzimmer n | salon salons m | in into | in in+A | dans
cellar cellars | Keller Keller m | cave caves f | in into | in in+A | dans
park parks | Park Parks m | parc parcs m | in to | in in+A | dans
city cities | Stadt Städte f | ville villes f | in to | in in+A | dans
village villages | Dorf Dörfer n | village villages m | in to | in in+A | dans
forest forests | Wald Wälder m | forêt forêts f | in into | in in+A | dans
castle castles | Schloss Schlösser n | château châteaux m | in to | in zu+D | à
street streets | Straße Straßen f | rue rues f | in into | auf auf+A | dans
church churches | Kirche Kirchen f | église églises f | in to | in in+A | à
school schools | Schule Schulen f | école écoles f | at to | in in+A | à
hospital hospitals | Krankenhaus Krankenhäuser n | hôpital hôpitaux m | in to | in in+A | à
hotel hotels | Hotel Hotels n | hôtel hôtels m | in to | in in+A | à
restaurant restaurants | Restaurant Restaurants n | restaurant restaurants m | in to | in in+A | à
office offices | Büro Büros n | bureau bureaux m | in to | in in+A | à
library libraries | Bibliothek Bibliotheken f | bibliothèque bibliothèques f | in to | in in+A | à
museum museums | Museum Museen n | musée musées m | in to | in in+A | à
theater theaters | Theater Theater n | théâtre théâtres m | at to | in in+A | à
cinema cinemas | Kino Kinos n | cinéma cinémas m | at to | in in+A | à
bakery bakeries | Bäckerei Bäckereien f | boulangerie boulangeries f | in to | in in+A | à
supermarket supermarkets | Supermarkt Supermärkte m | supermarché supermarchés m | in to | in in+A | à
pharmacy pharmacies | Apotheke Apotheken f | pharmacie pharmacies f | in to | in in+A | à
factory factories | Fabrik Fabriken f | usine usines f | in to | in in+A | à
zoo zoos | Zoo Zoos m | zoo zoos m | at to | in in+A | à
market markets | Markt Märkte m | marché marchés m | at to | auf auf+A | à
farm farms | Bauernhof Bauernhöfe m | ferme fermes f | on to | auf auf+A | à
beach beaches | Strand Strände m | plage plages f | at to | an an+A | à
lake lakes | See Seen m | lac lacs m | at to | an an+A | à
station stations | Bahnhof Bahnhöfe m | gare gares f | at to | an zu+D | à
airport airports | Flughafen Flughäfen m | aéroport aéroports m | at to | an zu+D | à
university universities | Universität Universitäten f | université universités f | at to | an zu+D | à
bridge bridges | Brücke Brücken f | pont ponts m | on onto | auf auf+A | sur
island islands | Insel Inseln f | île îles f | on to | auf auf+A | sur
"""

# English, its comparative, or - for none | German predicate, the stem that takes endings, comparative | French
# masculine, feminine | before or after the noun | what it fits: p people, a animals, f foods, m uncounted foods,
# d drinks, r texts, w clothes, t things, v vehicles, u furniture, s places.
# An adjective in capitals is only said of its noun directly ("the new car"), not after "is".
ADJECTIVE_TABLE = """
big bigger | groß groß größer | grand grande | before | awtvus
small smaller | klein klein kleiner | petit petite | before | pafwtvus
old older | alt alt älter | vieux vieille | before | parwtvus
young younger | jung jung jünger | jeune jeune | before | pa
beautiful - | schön schön - | beau belle | before | parwtvus
good - | gut gut - | bon bonne | before | fmdr
bad - | schlecht schlecht - | mauvais mauvaise | before | fmdr
pretty - | hübsch hübsch - | joli jolie | before | pwtu
NEW - | neu neu - | nouveau nouvelle | before | prwtvus
strong stronger | stark stark stärker | fort forte | after | pa
clever - | klug klug - | intelligent intelligente | after | pa
brave - | mutig mutig - | courageux courageuse | after | pa
happy - | glücklich glücklich - | heureux heureuse | after | p
sad - | traurig traurig - | triste triste | after | pr
tired - | müde müd - | fatigué fatiguée | after | pa
rich richer | reich reich reicher | riche riche | after | p
poor - | arm arm - | pauvre pauvre | after | p
friendly - | freundlich freundlich - | aimable aimable | after | p
polite - | höflich höflich - | poli polie | after | p
famous - | berühmt berühmt - | célèbre célèbre | after | prs
patient - | geduldig geduldig - | patient patiente | after | p
sick - | krank krank - | malade malade | after | pa
curious - | neugierig neugierig - | curieux curieuse | after | pa
hungry - | hungrig hungrig - | affamé affamée | after | pa
dangerous - | gefährlich gefährlich - | dangereux dangereuse | after | a
loyal - | treu treu - | fidèle fidèle | after | p
fast faster | schnell schnell schneller | rapide rapide | after | v
slow slower | langsam langsam langsamer | lent lente | after | v
black - | schwarz schwarz - | noir noire | after | awtvu
white - | weiß weiß - | blanc blanche | after | awtvu
red - | rot rot - | rouge rouge | after | wtvu
green - | grün grün - | vert verte | after | wtvu
blue - | blau blau - | bleu bleue | after | wtvu
yellow - | gelb gelb - | jaune jaune | after | wtvu
brown - | braun braun - | brun brune | after | awu
gray - | grau grau - | gris grise | after | awtvu
fresh - | frisch frisch - | frais fraîche | after | fmd
cold - | kalt kalt - | froid froide | after | d
ripe - | reif reif - | mûr mûre | after | f
delicious - | köstlich köstlich - | délicieux délicieuse | after | fmd
expensive - | teuer teur - | cher chère | after | wtvu
cheap - | billig billig - | bon_marché bon_marché | after | wtvu
heavy heavier | schwer schwer schwerer | lourd lourde | after | tu
light - | leicht leicht - | léger légère | after | tw
round - | rund rund - | rond ronde | after | tu
broken - | kaputt kaputt - | cassé cassée | after | tu
modern - | modern modern - | moderne moderne | after | vus
elegant - | elegant elegant - | élégant élégante | after | wtu
practical - | praktisch praktisch - | pratique pratique | after | wtvu
comfortable - | bequem bequem - | confortable confortable | after | wu
warm - | warm warm - | chaud chaude | after | w
dirty - | schmutzig schmutzig - | sale sale | after | awtvu
clean - | sauber sauber - | propre propre | after | awtvu
long longer | lang lang länger | long longue | after | rw
short shorter | kurz kurz kürzer | court courte | after | rw
interesting - | interessant interessant - | intéressant intéressante | after | rs
boring - | langweilig langweilig - | ennuyeux ennuyeuse | after | r
funny - | lustig lustig - | drôle drôle | after | pr
easy easier | einfach einfach einfacher | facile facile | after | r
quiet - | ruhig ruhig - | calme calme | after | ps
"""

# Nouns of a fitting class that an adjective does not fit all the same: a plate is round, a key is not.
UNFITTING = {
    "round": "key knife fork spoon guitar computer umbrella pencil phone camera photo bag suitcase flower ball "
    "toy gift radio tool map stamp bottle bed bench cupboard shelf sofa armchair",
    "heavy": "key spoon fork pencil photo flower candle stamp map watch pillow",
    "light": "key stamp photo coat map flower",
    "broken": "key pencil flower ball gift photo picture pillow map stamp candle carpet box basket",
    "comfortable": "tie ring scarf hat table cupboard shelf carpet",
    "warm": "tie ring hat suit shirt dress skirt",
    "long": "letter postcard shoe boot hat cap ring suit shirt sweater tie jacket",
    "short": "shoe boot hat cap ring suit shirt sweater tie scarf",
    "clean": "ring photo picture stamp candle flower map owl elephant lion bear mouse bird rabbit hamster monkey fox "
    "wolf donkey goat duck frog snake turtle",
    "dirty": "ring candle flower gift stamp",
    "practical": "ring tie photo picture flower candle ball toy stamp pillow",
    "elegant": "key knife tool toy ball box computer radio bench photo",
    "pretty": "man boy father brother uncle grandfather neighbor teacher student doctor colleague gentleman baker "
    "farmer cook painter lawyer policeman soldier hero king prince tourist journalist engineer guest customer boss "
    "cap knife tool computer map phone",
    "beautiful": "boss baker farmer cook lawyer policeman mouse pig snake monkey frog knife tool spoon fork plate "
    "text e-mail newspaper magazine truck bus",
    "NEW": "man woman boy girl father mother brother sister uncle aunt grandfather grandmother gentleman lady hero "
    "queen king prince princess tourist baby child painter beach lake forest village island garden",
    "old": "child boy girl baby beach lake e-mail text apple",
    "young": "grandfather grandmother turtle",
    "big": "grandfather grandmother baby mouse hero prince tie stamp gentleman child boy",
    "small": "elephant horse bear lion cow man gentleman king queen hero",
    "famous": "father mother brother sister uncle aunt grandfather grandmother boy girl baby nurse waitress neighbor "
    "customer guest tourist colleague child postcard e-mail letter pharmacy supermarket bakery bedroom living_room "
    "kitchen cellar office station farm factory garden house bridge street city village forest lake "
    "text newspaper magazine park school",
    "interesting": "kitchen bedroom living_room cellar bakery supermarket pharmacy street beach office house bridge "
    "lake hospital factory station restaurant hotel airport",
    "modern": "beach lake island forest village garden park castle farm market cellar zoo",
    "quiet": "bakery pharmacy factory zoo supermarket market station airport bridge cinema theater",
    "sad": "newspaper magazine postcard",
    "funny": "newspaper magazine novel baker lawyer farmer",
    "easy": "letter newspaper story novel postcard magazine poem e-mail",
    "strong": "baby mouse hamster grandmother child",
    "clever": "baby frog turtle cow hamster duck",
    "brave": "baby cow frog turtle duck pig",
    "dangerous": "cat cow mouse rabbit hamster donkey goat owl duck frog turtle horse bird pig fox monkey elephant",
    "sick": "hero",
    "rich": "baby child student soldier nurse",
    "poor": "baby king queen prince princess hero boss",
    "patient": "baby child boy girl",
    "polite": "baby",
    "loyal": "baby child boy girl man woman lady gentleman tourist father mother brother sister uncle aunt king queen",
    "friendly": "baby",
    "brown": "owl elephant pig frog lion suit",
    "black": "lion elephant owl frog donkey pig mouse lamp bear turtle duck",
    "white": "lion elephant frog snake bear fox turtle monkey donkey candle",
    "gray": "lion frog bear fox pig cow turtle snake duck candle",
    "ripe": "potato carrot onion bean mushroom egg cake sandwich sausage pizza cookie",
    "fresh": "lemonade wine honey chocolate rice cookie pizza soup tea coffee cake",
    "red": "suit spoon fork knife mirror photo picture",
    "green": "suit spoon fork knife mirror photo picture",
    "blue": "spoon fork knife mirror photo picture",
    "yellow": "suit spoon fork knife mirror photo picture",
}

# English infinitive, third person, participle, preposition | German infinitive (prefix|verb when it separates),
# I, he, participle, auxiliary | the German object's case, after its preposition | French infinitive; for verbs
# that are not regular in -er also je, il, nous, vous, ils, participle; "être" at the end where it is the auxiliary
# | the French object: A direct, D with à or lui, else its preposition | objects: class letters, then words, then
# words taken out again with a minus | how it is used: s a state (no perfect, no place), a also said of animals,
# else the letter of the places where one does it (WHERE; m anywhere), - none.
TRANSITIVE_TABLE = """
buy buys bought | kaufen kaufe kauft gekauft haben | A
  | acheter achète achète achetons achetez achètent acheté | A | fmdrwtvu | b
sell sells sold | verkaufen verkaufe verkauft verkauft haben | A
  | vendre vends vend vendons vendez vendent vendu | A | frwtvum | b
eat eats eaten | essen esse isst gegessen haben | A
  | manger mange mange mangeons mangez mangent mangé | A | fm | k
drink drinks drunk | trinken trinke trinkt getrunken haben | A
  | boire bois boit buvons buvez boivent bu | A | d | k
read reads read | lesen lese liest gelesen haben | A | lire lis lit lisons lisez lisent lu | A | r | l
write writes written | schreiben schreibe schreibt geschrieben haben | A
  | écrire écris écrit écrivons écrivez écrivent écrit | A | r -newspaper -magazine | l
see sees seen | sehen sehe sieht gesehen haben | A | voir vois voit voyons voyez voient vu | A | pavst | a
like likes liked | mögen mag mag gemocht haben | A | apprécier | A | pafmdrwsv | s
love loves loved | lieben liebe liebt geliebt haben | A | aimer | A | pamdf | s
know knows known | kennen kenne kennt gekannt haben | A
  | connaître connais connaît connaissons connaissez connaissent connu | A | p city village museum castle
  park hotel restaurant zoo island book novel poem story dog horse | s
have has had | haben habe hat gehabt haben | A | avoir ai a avons avez ont eu | A | atvwur | s
look_for looks_for looked_for | suchen suche sucht gesucht haben | A | chercher | A | patwrs | a
find finds found | finden finde findet gefunden haben | A | trouver | A | atwr | m
wait_for waits_for waited_for | warten warte wartet gewartet haben | auf+A
  | attendre attends attend attendons attendez attendent attendu | A | p bus train taxi plane ship | m
look_at looks_at looked_at | an|sehen sehe sieht angesehen haben | A | regarder | A | patsv | a
visit visits visited | besuchen besuche besucht besucht haben | A
  | visiter | A | city castle museum church school university island zoo village factory library park
  market farm hospital theater | -
invite invites invited | ein|laden lade lädt eingeladen haben | A | inviter | A | p -baby | -
call calls called | an|rufen rufe ruft angerufen haben | A
  | appeler appelle appelle appelons appelez appellent appelé | A | p -baby | -
answer answers answered | antworten antworte antwortet geantwortet haben | D
  | répondre réponds répond répondons répondez répondent répondu | D | p -baby | -
help helps helped | helfen helfe hilft geholfen haben | D | aider | A | pa | h
thank thanks thanked | danken danke dankt gedankt haben | D | remercier | A | p -baby | -
follow follows followed | folgen folge folgt gefolgt sein | D
  | suivre suis suit suivons suivez suivent suivi | A | pa car bus truck taxi | a
listen_to listens_to listened_to | zu|hören höre hört zugehört haben | D | écouter | A | p -baby | -
meet meets met | treffen treffe trifft getroffen haben | A | rencontrer | A | p -baby | m
understand understands understood | verstehen verstehe versteht verstanden haben | A
  | comprendre comprends comprend comprenons comprenez comprennent compris | A | p story text poem novel
  letter book -baby | s
bring brings brought | bringen bringe bringt gebracht haben | A | apporter | A | fmdrt | -
open opens opened | auf|machen mache macht aufgemacht haben | A
  | ouvrir ouvre ouvre ouvrons ouvrez ouvrent ouvert | A | box bag suitcase bottle cupboard letter gift
  umbrella | h
close closes closed | zu|machen mache macht zugemacht haben | A
  | fermer | A | box bag suitcase bottle cupboard umbrella | h
wash washes washed | waschen wasche wäscht gewaschen haben | A
  | laver | A | w dog car cup plate knife spoon fork bottle apple pear tomato carrot truck -hat -ring -shoe
  -boot -tie -suit | k
clean cleans cleaned | putzen putze putzt geputzt haben | A
  | nettoyer nettoie nettoie nettoyons nettoyez nettoient nettoyé | A | kitchen bedroom house office table
  mirror lamp shoe boot bicycle car cupboard shelf | -
repair repairs repaired | reparieren repariere repariert repariert haben | A
  | réparer répare répare réparons réparez réparent réparé | A | v chair table bed sofa armchair bench lamp
  radio computer camera guitar phone watch umbrella toy | h
carry carries carried | tragen trage trägt getragen haben | A
  | porter | A | suitcase bag box basket child baby chair bottle radio guitar ball lamp mirror picture
  plate | -
draw draws drawn | zeichnen zeichne zeichnet gezeichnet haben | A | dessiner | A | pavus | h
photograph photographs photographed | fotografieren fotografiere fotografiert fotografiert haben | A
  | photographier | A | pavs | -
lose loses lost | verlieren verliere verliert verloren haben | A
  | perdre perds perd perdons perdez perdent perdu | A | key ring bag umbrella hat phone watch ball
  suitcase scarf camera pencil letter book map cap | m
forget forgets forgotten | vergessen vergesse vergisst vergessen haben | A | oublier | A | rtw -ring | m
hear hears heard | hören höre hört gehört haben | A
  | entendre entends entend entendons entendez entendent entendu | A | pav radio guitar story -bicycle | a
choose chooses chosen | aus|suchen suche sucht ausgesucht haben | A
  | choisir choisis choisit choisissons choisissez choisissent choisi | A | wtfru | -
pack packs packed | ein|packen packe packt eingepackt haben | A
  | emballer | A | gift plate cup knife lamp mirror picture bottle toy camera ring book hat shoe cake
  candle radio | -
borrow borrows borrowed | aus|leihen leihe leiht ausgeliehen haben | A
  | emprunter | A | book novel magazine umbrella tool camera guitar computer car bicycle truck motorcycle
  suitcase | -
prepare prepares prepared | zu|bereiten bereite bereitet zubereitet haben | A
  | préparer | A | soup meat fish pizza sandwich cake rice coffee tea lemonade | k
cut cuts cut | schneiden schneide schneidet geschnitten haben | A
  | couper | A | bread cheese meat apple pear tomato carrot onion lemon cake pizza mushroom peach sausage
  potato banana | k
greet greets greeted | begrüßen begrüße begrüßt begrüßt haben | A | saluer | A | p -baby | m
admire admires admired | bewundern bewundere bewundert bewundert haben | A
  | admirer | A | p picture castle church city garden island bridge dress ring photo ship -baby | -
use uses used | benutzen benutze benutzt benutzt haben | A
  | utiliser | A | knife spoon fork computer phone camera umbrella mirror tool map pencil lamp box basket |
  h
hide hides hidden | verstecken verstecke versteckt versteckt haben | A
  | cacher | A | key ring gift letter bottle box ball toy knife photo picture phone cookie egg | h
translate translates translated | übersetzen übersetze übersetzt übersetzt haben | A
  | traduire traduis traduit traduisons traduisez traduisent traduit | A | r -newspaper -magazine | -
build builds built | bauen baue baut gebaut haben | A
  | construire construis construit construisons construisez construisent construit | A | house castle
  bridge table shelf bench ship | -
feed feeds fed | füttern füttere füttert gefüttert haben | A
  | nourrir nourris nourrit nourrissons nourrissez nourrissent nourri | A | a baby | h
watch watches watched | beobachten beobachte beobachtet beobachtet haben | A | observer | A | pa | m
protect protects protected | beschützen beschütze beschützt beschützt haben | A
  | protéger protège protège protégeons protégez protègent protégé | A | pa | -
wake wakes woken | wecken wecke weckt geweckt haben | A | réveiller | A | p dog cat | -
dream_of dreams_of dreamed_of | träumen träume träumt geträumt haben | von+D
  | rêver | de | p horse car castle island dog ship | -
think_of thinks_of thought_of | denken denke denkt gedacht haben | an+A | penser | à | p dog cat horse | -
talk_to talks_to talked_to | sprechen spreche spricht gesprochen haben | mit+D | parler | D | p | m
play_with plays_with played_with | spielen spiele spielt gespielt haben | mit+D
  | jouer | avec | dog cat rabbit child ball toy boy girl baby monkey brother sister | o
dance_with dances_with danced_with | tanzen tanze tanzt getanzt haben | mit+D | danser | avec | p -baby | o
work_with works_with worked_with | arbeiten arbeite arbeitet gearbeitet haben | mit+D
  | travailler | avec | p -baby -child | o
"""

# With a person who receives: "gives the woman the book". The same columns.
DITRANSITIVE_TABLE = """
give gives given | geben gebe gibt gegeben haben | A | donner | A | frwtm | -
show shows shown | zeigen zeige zeigt gezeigt haben | A | montrer | A | rwtvasu | -
send sends sent | schicken schicke schickt geschickt haben | A
  | envoyer envoie envoie envoyons envoyez envoient envoyé | A | rwt | -
sell sells sold | verkaufen verkaufe verkauft verkauft haben | A
  | vendre vends vend vendons vendez vendent vendu | A | frwtvum | -
explain explains explained | erklären erkläre erklärt erklärt haben | A
  | expliquer | A | text story poem novel map picture | -
lend lends lent | leihen leihe leiht geliehen haben | A
  | prêter | A | book novel magazine umbrella tool camera guitar computer car bicycle truck motorcycle coat
  jacket pencil map knife | -
recommend recommends recommended | empfehlen empfehle empfiehlt empfohlen haben | A
  | recommander | A | book novel restaurant hotel museum cake pizza soup fish wine poem newspaper magazine
  tea | -
offer offers offered | an|bieten biete bietet angeboten haben | A
  | offrir offre offre offrons offrez offrent offert | A | fmd flower gift ring watch book scarf chair
  -butter | -
bring brings brought | bringen bringe bringt gebracht haben | A | apporter | A | fmdrt | -
write writes written | schreiben schreibe schreibt geschrieben haben | A
  | écrire écris écrit écrivons écrivez écrivent écrit | A | letter postcard e-mail poem | -
"""

# Without an object. The last column: a place where (w, or x for arrivals), a place to which (t), n neither;
# a also said of animals.
INTRANSITIVE_TABLE = """
sleep sleeps slept | schlafen schlafe schläft geschlafen haben
  | dormir dors dort dormons dormez dorment dormi | wa
work works worked | arbeiten arbeite arbeitet gearbeitet haben | travailler | w
sing sings sung | singen singe singt gesungen haben | chanter | w
dance dances danced | tanzen tanze tanzt getanzt haben | danser | w
play plays played | spielen spiele spielt gespielt haben | jouer | wa
laugh laughs laughed | lachen lache lacht gelacht haben | rire ris rit rions riez rient ri | w
cry cries cried | weinen weine weint geweint haben | pleurer | w
wait waits waited | warten warte wartet gewartet haben
  | attendre attends attend attendons attendez attendent attendu | wa
cook cooks cooked | kochen koche kocht gekocht haben | cuisiner | n
arrive arrives arrived | an|kommen komme kommt angekommen sein
  | arriver arrive arrive arrivons arrivez arrivent arrivé être | x
stay stays stayed | bleiben bleibe bleibt geblieben sein
  | rester reste reste restons restez restent resté être | wa
go goes gone | gehen gehe geht gegangen sein | aller vais va allons allez vont allé être | t
run runs run | laufen laufe läuft gelaufen sein | courir cours court courons courez courent couru | ta
return returns returned | zurück|kommen komme kommt zurückgekommen sein
  | revenir reviens revient revenons revenez reviennent revenu être | n
swim swims swum | schwimmen schwimme schwimmt geschwommen sein
  | nager nage nage nageons nagez nagent nagé | n
"""

# Verbs with sentences of their own: "belongs to", "puts on", "travels to ... by".
SPECIAL_TABLE = """
belong_to belongs_to belonged_to | gehören gehöre gehört gehört haben
  | appartenir appartiens appartient appartenons appartenez appartiennent appartenu
put puts put | legen lege legt gelegt haben | mettre mets met mettons mettez mettent mis
travel travels traveled | fahren fahre fährt gefahren sein | aller vais va allons allez vont allé être
"""

# Times, by what they go with: habits in the present, plans after a modal verb, the perfect. "-" in the last
# column: not with a negation, whose reach would be unclear.
HABITS = """
every day | jeden Tag | tous les jours | -
every morning | jeden Morgen | tous les matins | -
every evening | jeden Abend | tous les soirs | -
every week | jede Woche | toutes les semaines | -
in the morning | am Morgen | le matin
in the evening | am Abend | le soir
on Sundays | sonntags | le dimanche
on Mondays | montags | le lundi
in summer | im Sommer | en été
in winter | im Winter | en hiver
at night | nachts | la nuit
"""
PLANS = """
today | heute | aujourd'hui
tomorrow | morgen | demain
tonight | heute Abend | ce soir
on Saturday | am Samstag | samedi
on Friday | am Freitag | vendredi
next week | nächste Woche | la semaine prochaine
now | jetzt | maintenant
"""
PASTS = """
today | heute | aujourd'hui
this morning | heute Morgen | ce matin
this week | diese Woche | cette semaine
"""
# Adverbs of frequency: before the verb in English, after the finite verb in French.
HABIT_ADVERBS = """
often | oft | souvent
always | immer | toujours
sometimes | manchmal | parfois
"""
PAST_ADVERBS = """
already | schon | déjà
often | oft | souvent
"""
# Modal verbs: English for I, for he, negated | German ich, sie | French je, il, nous, vous, ils.
# "must not" is left out: in German and French it says something else.
MODAL_TABLE = """
can | can | cannot | cannot | kann können | peux peut pouvons pouvez peuvent
must | must | - | - | muss müssen | dois doit devons devez doivent
want to | wants to | do not want to | does not want to | will wollen | veux veut voulons voulez veulent
would like to | would like to | - | - | möchte möchten | voudrais voudrait voudrions voudriez voudraient
"""
NUMBERS = """
two | zwei | deux
three | drei | trois
four | vier | quatre
five | fünf | cinq
six | sechs | six
seven | sieben | sept
eight | acht | huit
nine | neun | neuf
ten | zehn | dix
twelve | zwölf | douze
twenty | zwanzig | vingt
"""
# Main clauses before "that", in each the clause that follows stands in the indicative.
BELIEFS = """
I know | Ich weiß | Je sais
I think | Ich glaube | Je crois
I see | Ich sehe | Je vois
We know | Wir wissen | Nous savons
We think | Wir glauben | Nous croyons
Everybody knows | Alle wissen | Tout le monde sait
She says | Sie sagt | Elle dit
He says | Er sagt | Il dit
He thinks | Er glaubt | Il croit
He writes | Er schreibt | Il écrit
"""
DOUBTS = """
I do not know | Ich weiß nicht | Je ne sais pas
We do not know | Wir wissen nicht | Nous ne savons pas
He asks | Er fragt | Il demande
She asks | Sie fragt | Elle demande
Nobody knows | Niemand weiß | Personne ne sait
"""
WEATHER = """
it is raining | es regnet | il pleut
it is snowing | es schneit | il neige
it is cold | es kalt ist | il fait froid
it is hot | es heiß ist | il fait chaud
it is late | es spät ist | il est tard
"""
VEHICLE_WAYS = """
by bus | mit dem Bus | en bus
by train | mit dem Zug | en train
by car | mit dem Auto | en voiture
by bicycle | mit dem Fahrrad | à vélo
by taxi | mit dem Taxi | en taxi
"""
# Two-way prepositions with furniture: dative where it is, accusative where it is put.
POSITIONS = """
on | auf | sur
under | unter | sous
behind | hinter | derrière
next to | neben | à côté de
in front of | vor | devant
"""
# Things that lie flat: "legen", not "stellen", puts them.
FLAT = """
key knife spoon fork umbrella pencil phone camera photo flower toy gift map pillow stamp watch book letter newspaper
postcard magazine coat shirt dress skirt hat cap jacket sweater scarf tie ring suit
"""
# Places where one does a thing: the letters in the last column of the verbs.
WHERE = """
b | market supermarket city village bakery
k | kitchen garden house restaurant
l | garden park library bedroom living_room school office university beach hotel kitchen
h | garden house cellar kitchen living_room farm school office
o | garden park house living_room school beach village hotel
w | garden kitchen house living_room park city village school hospital hotel restaurant office library museum
  theater factory farm station airport university castle
  |
"""
ARRIVAL = """
station airport hotel castle hospital office museum farm theater school university factory zoo restaurant
"""
TO = """
garden kitchen park city village forest school church hospital hotel restaurant office library museum theater cinema
supermarket bakery pharmacy zoo market beach lake station university farm factory castle
"""
# Where animals are, and where one travels to.
OUTSIDE = "garden park village forest street farm beach lake island bridge zoo"
FAR = """
park city village castle school hospital hotel restaurant office museum theater cinema supermarket factory zoo market
farm beach lake station airport university island library
"""
# What one does in a mood; a minus: what one does not do.
MOODS = """
happy | sing dance laugh play
sad | cry -sing -dance -laugh
tired | sleep -work -dance -play
sick | sleep -work -swim -play
hungry | cook -sleep -sing -laugh
"""
NOT_GRADED = "black white red green blue yellow brown gray broken delicious round fresh ripe hungry cheap"
# Of what one says "too": not "too interesting".
TOO = """
big small old young strong expensive heavy slow fast long short cold poor tired sick curious dangerous polite warm
dirty boring sad
"""


# ---- Reading the tables


class Usage(NamedTuple):
    """A verb, the nouns that it takes as objects, its flags (see TRANSITIVE) and the places where one does it."""

    verb: Verb
    objects: tuple[Noun, ...]
    flags: str
    places: tuple[Noun, ...]


def rows(table: str) -> list[list[list[str]]]:
    """Splits a table into lines, columns and words; an underscore joins words, two spaces continue a line."""
    return [
        [[word.replace("_", " ") for word in column.split()] for column in line.split(" | ")]
        for line in table.strip().replace("\n  ", " ").splitlines()
    ]


def named(names: str) -> tuple[Noun, ...]:
    """Picks nouns by the letters of kinds, if the list opens with them, and by name; a minus leaves one out."""
    listed = [name.replace("_", " ") for name in names.split()]
    kinds = "" if listed[0] in BY_NAME else listed[0]
    out = {name[1:] for name in listed if name[0] == "-"}
    return tuple(noun for noun in NOUNS if (noun.kind in kinds or noun.en[0] in listed) and noun.en[0] not in out)


def fixed(table: str) -> list[Words]:
    """Reads phrases that never change."""
    return [Words(*(" ".join(column) for column in row[:3])) for row in rows(table)]


def _nouns(table: str, kind: str) -> list[Noun]:
    return [
        Noun((en[0], en[1]), (de[0], de[1]), de[2][0], de[2] == "mn", (fr[0], fr[1]), fr[2], kind)
        for en, de, fr, *_ in rows(table)
    ]


def _adjective(row: list[list[str]]) -> Adjective:
    (en, comparative), de, fr, (place,), _ = row
    pair = None if comparative == "-" else (comparative, de[2])
    return Adjective(en.lower(), de[0], de[1], (fr[0], fr[1]), place == "before", en.islower(), pair)


def _french_present(infinitive: str, given: list[str]) -> tuple[str, ...]:
    if given:
        return tuple(given)
    stem = infinitive[:-2]
    return (stem + "e", stem + "e", stem + "ons", stem + "ez", stem + "ent")


def _verb(en: list[str], de: list[str], fr: list[str], german_object: str = "A", french_object: str = "A") -> Verb:
    base, third, participle = (form.partition(" ") for form in en)
    prefix, _, infinitive = de[0].rpartition("|")
    de_prep, _, de_case = german_object.rpartition("+")
    return Verb(
        en=(base[0], third[0], participle[0]),
        en_prep=base[1] + base[2],
        prefix=prefix,
        de=(de[1], de[2], infinitive, infinitive, infinitive),
        de_infinitive=infinitive,
        de_participle=de[3],
        sein=de[4] == "sein",
        de_prep=de_prep,
        de_case=de_case,
        fr=_french_present(fr[0], fr[1:6]),
        fr_infinitive=fr[0],
        fr_participle=fr[6] if len(fr) > 1 else fr[0][:-2] + "é",
        etre=fr[-1] == "être",
        fr_object=french_object,
    )


def _usages(table: str) -> list[Usage]:
    usages = []
    for row in rows(table):
        en, de, german_object, fr, french_object, names, (flags,) = row
        verb = _verb(en, de, fr, german_object[0], french_object[0])
        objects = named(" ".join(name.replace(" ", "_") for name in names))
        usages.append(Usage(verb, objects, flags, PLACES_WHERE.get(flags[-1], ())))
    return usages


def _intransitive(table: str) -> list[Usage]:
    everywhere = {"w": PLACES_WHERE["w"], "t": named(TO), "x": named(ARRIVAL)}
    usages = []
    for en, de, fr, (flags,) in rows(table):
        usages.append(Usage(_verb(en, de, fr), (), flags, everywhere.get(flags[0], ())))
    return usages


def _modal(columns: list[str]) -> Modal:
    en, third, en_not, third_not, de, fr = columns
    ich, sie = de.split()
    return Modal((en, third), (en_not, third_not), (ich, ich, sie, sie, sie), tuple(fr.split()))


def _fitting() -> dict[Noun, tuple[Adjective, ...]]:
    kinds = ["".join(row[4]) for row in rows(ADJECTIVE_TABLE)]
    unfitting = {name.lower(): {noun.replace("_", " ") for noun in nouns.split()} for name, nouns in UNFITTING.items()}
    return {
        noun: tuple(
            adjective
            for adjective, fits in zip(ADJECTIVES, kinds, strict=True)
            if noun.kind in fits and noun.en[0] not in unfitting.get(adjective.en, ())
        )
        for noun in NOUNS
    }


_KINDS = {
    "p": PEOPLE,
    "a": ANIMALS,
    "f": FOODS,
    "m": MASS_FOODS,
    "d": DRINKS,
    "r": TEXTS,
    "w": CLOTHES,
    "t": THINGS,
    "v": VEHICLES,
    "u": FURNITURE,
    "s": PLACES,
}
NOUNS = [noun for kind, table in _KINDS.items() for noun in _nouns(table, kind)]
BY_NAME = {noun.en[0]: noun for noun in NOUNS}
OF_KIND = {kind: tuple(noun for noun in NOUNS if noun.kind == kind) for kind in _KINDS}
ADJECTIVES = [_adjective(row) for row in rows(ADJECTIVE_TABLE)]
# The adjectives that fit a noun; those of them that stand after "is"; those that compare.
FITTING = _fitting()
PREDICATES = {noun: tuple(a for a in fitting if a.predicate) for noun, fitting in FITTING.items()}
COMPARABLE = {noun: tuple(a for a in fitting if a.comparative) for noun, fitting in FITTING.items()}
PLACES_WHERE = {row[0][0]: named(" ".join(n.replace(" ", "_") for n in row[1])) for row in rows(WHERE)}
PLACES_WHERE["m"] = OF_KIND["s"]
PREPOSITIONS = {noun: row[3:] for noun, row in zip(OF_KIND["s"], rows(PLACES), strict=True)}
TRANSITIVE, DITRANSITIVE = _usages(TRANSITIVE_TABLE), _usages(DITRANSITIVE_TABLE)
INTRANSITIVE = _intransitive(INTRANSITIVE_TABLE)
VERBS = {usage.verb.en[0] + usage.verb.en_prep: usage for usage in (*INTRANSITIVE, *TRANSITIVE)}
MODALS = [_modal([column.strip() for column in line.split(" | ")]) for line in MODAL_TABLE.strip().splitlines()]
BELONG, PUT, TRAVEL = (
    _verb(en, de, fr, *objects) for (en, de, fr), objects in zip(rows(SPECIAL_TABLE), (("D", "D"), (), ()), strict=True)
)
